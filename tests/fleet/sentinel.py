"""Redis as Sentinel keeps it, whose primary dies: the newest data may be lost.

A failover that Sentinel is asked for (SENTINEL FAILOVER) is no trouble for a storm: for some ten
seconds there are two primaries, and clients of both.
"""

import asyncio
import contextlib

import redis

from tests.fleet.store import now
from tests.kit import Sentinels, wait_until


class SentinelStore:
    """Two servers and three sentinels, with what a storm asks of a `Store`."""

    def __init__(self):
        self._sentinels = Sentinels()
        self.losses = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._sentinels.__exit__(*exc)

    @property
    def channel_layers(self):
        """The ``CHANNEL_LAYERS`` setting."""
        return self._sentinels.channel_layers

    @property
    def client(self):
        """An administrator's client of the present primary."""
        return self._primary.client

    @property
    def _primary(self):
        port = self._sentinels.primary_port
        return next(each for each in self._sentinels.servers if each.port == port)

    async def cut_subscriptions(self, chance):
        """Close all connections that subscribe."""
        await asyncio.to_thread(self.client.client_kill_filter, _type="pubsub")

    async def rest(self):
        """Wait until all is as it should be."""
        await asyncio.to_thread(wait_until, self._is_replicated, 60)

    async def kill(self, chance):
        """Kill the primary. When all sentinels name another one, it comes back, empty; some seconds
        later Sentinel makes a replica of it.
        """
        await self.rest()
        begun_at = now()
        await asyncio.to_thread(self._kill)
        self.losses.append((begun_at, now()))

    def _kill(self):
        victim = self._primary
        victim.kill()
        wait_until(lambda: victim.port not in self._sentinels.primary_ports, 60)
        victim.start()

    def _is_replicated(self):
        """Tell whether the other server follows the primary."""
        primary = self._primary
        other = next(each for each in self._sentinels.servers if each is not primary)
        with contextlib.suppress(redis.ConnectionError):  # it has just been killed
            state = other.client.info("replication")
            return state["role"] == "slave" and state["master_link_status"] == "up"
        return False
