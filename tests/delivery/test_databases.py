"""Projects on different databases of one Redis don't hear each other."""

import asyncio

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer as StockLayer

from bazis_ws_channels.layers import RedisPubSubChannelLayer
from bazis_ws_channels.redis.hosts import Host


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"address": "redis://127.0.0.1:6379"}, 0),
        ({"address": "redis://127.0.0.1:6379/0"}, 0),
        ({"address": "rediss://user:secret@redis.example:6380/7"}, 7),
        ({"address": "redis://127.0.0.1:6379?db=3"}, 3),
        ({"address": "redis://127.0.0.1:6379/3", "db": 5}, 3),
        ({"address": "redis://127.0.0.1:6379", "db": 5}, 5),
        ({"address": "unix:///run/redis.sock?db=2"}, 2),
        ({"host": "127.0.0.1", "port": 6379}, 0),
        ({"host": "127.0.0.1", "port": 6379, "db": 4}, 4),
        ({"master_name": "main", "sentinels": [("127.0.0.1", 26379)], "db": 6}, 6),
    ],
)
def test_number(options, number):
    """However it is written."""
    assert Host(options).database == number


async def test_databases_are_separate(redis):
    """Nobody's message arrives at the namesake in another project."""
    url = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}"
    layers = [RedisPubSubChannelLayer(hosts=[f"{url}/{number}"]) for number in (0, 1, 2)]
    channels = [await layer.new_channel() for layer in layers]
    for layer, channel in zip(layers, channels, strict=True):
        await layer.group_add("user_ws.1", channel)
    for number, layer in enumerate(layers):
        await layer.group_send("user_ws.1", {"type": "a", "from": number})
    for number, (layer, channel) in enumerate(zip(layers, channels, strict=True)):
        async with asyncio.timeout(5):
            assert (await layer.receive(channel))["from"] == number
        await layer.group_send("user_ws.1", {"type": "a", "from": "end"})
        async with asyncio.timeout(5):
            assert (await layer.receive(channel))["from"] == "end"
        await layer.flush()


async def test_database_0_is_that_of_channels_redis(redis):
    """A process that still has channels-redis's own layer hears ours, and ours hears it."""
    url = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}"
    ours, stock = RedisPubSubChannelLayer(hosts=[url]), StockLayer(hosts=[url])
    own, other = await ours.new_channel(), await stock.new_channel()
    await ours.group_add("common", own)
    await stock.group_add("common", other)
    async with asyncio.timeout(10):
        await stock.group_send("common", {"type": "a"})
        assert await ours.receive(own) == {"type": "a"}
        assert await stock.receive(other) == {"type": "a"}
        await ours.group_send("common", {"type": "b"})
        assert await stock.receive(other) == {"type": "b"}
    await ours.flush()
    await stock.flush()
