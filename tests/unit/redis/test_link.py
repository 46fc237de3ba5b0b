"""One connection that carries subscriptions."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bazis_ws_channels.redis.connection import Connection
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.link import Link
from tests.kit.waiting import until


async def test_a_lost_connection_is_not_replaced_unnoticed(fake_redis):
    """redis-py disconnects when a write fails, and connects again for the next: while nobody reads,
    the link would go on without its subscriptions.
    """
    connection, asked = Connection(Host({"address": fake_redis.url})), []
    raw = connection.make_link()
    link = Link(raw, asked.append)
    await link.connect()
    link.command("SUBSCRIBE", "a")
    assert (await link.read())[1] == b"a"
    await raw.disconnect(nowait=True)
    link.command("SUBSCRIBE", "b")
    await until(lambda: asked == ["a", "b"] and not link._writes)
    with pytest.raises(RedisConnectionError):
        await link.read()
    assert fake_redis.accepted == 1
    await link.disconnect()
    await connection.close()
