"""A Redis Cluster of two scripted nodes."""

import asyncio

import pytest

from bazis_ws_channels.redis.blocking import exchange
from bazis_ws_channels.redis.connection import connection_to
from bazis_ws_channels.redis.hosts import Host
from tests.unit.peers import FakeRedis

LIMIT_SECONDS = 5


class World:
    """Two nodes, of which the settings name one and somebody who is away.

    Attributes:
        map: what they reply to CLUSTER SLOTS: the first has the lower half of the slots.
    """

    def __init__(self, first, second):
        self.first, self.second = first, second
        seeds = [("127.0.0.1", 1), ("127.0.0.1", first.port)]
        self.host = Host({"cluster": seeds, "socket_timeout": 2})
        self.tells([0, 8191, first], [8192, 16383, second])

    def tells(self, *rows):
        """Let the nodes tell this map from now on: first slot, last slot, node."""
        self.map = [
            [low, high, [b"127.0.0.1", node.port, b"%d" % node.port]] for low, high, node in rows
        ]
        for node in (self.first, self.second):
            node.forget("CLUSTER")
            node.answer("CLUSTER", *[self.map] * 50)

    async def ask(self, kind, *commands):
        """Return the replies, by async or by sync code."""
        if kind == "async":
            return await connection_to(self.host).exchange(commands)
        asked = {self.host: commands}
        return await asyncio.to_thread(lambda: exchange(asked, LIMIT_SECONDS)[self.host])

    def reads(self):
        """Return how often the map was read."""
        return sum(node.names().count("CLUSTER") for node in (self.first, self.second))


@pytest.fixture
def world(fake_redis):
    """A Cluster."""
    with FakeRedis() as other:
        yield World(fake_redis, other)
