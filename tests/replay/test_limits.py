"""Settings of replay that are wrong, keys in Redis, and Redis at its limits."""

import asyncio

import pytest
import redis as redis_py
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.core.checks import run_checks

from bazis_ws_channels import publishing
from bazis_ws_channels.history.commands import limits
from tests.replay.support import Socket


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BAZIS_WS_HISTORY_SECONDS", -1),
        ("BAZIS_WS_HISTORY_SECONDS", "300"),
        ("BAZIS_WS_HISTORY_SECONDS", 0.5),
        ("BAZIS_WS_HISTORY_MESSAGES", 0),
        ("BAZIS_WS_HISTORY_MESSAGES", -5),
        ("BAZIS_WS_HISTORY_BYTES", 0),
        ("BAZIS_WS_HISTORY_BYTES", None),
    ],
)
def test_wrong_settings_are_found(settings, name, value):
    """By `manage.py check`."""
    setattr(settings, name, value)
    assert [each.msg for each in run_checks() if name in each.msg]


def test_zero_seconds_are_no_fault(settings):
    """They turn replay off."""
    settings.BAZIS_WS_HISTORY_SECONDS = 0
    assert not [each for each in run_checks() if "HISTORY" in each.msg]


@pytest.mark.parametrize("name", ["SECONDS", "MESSAGES", "BYTES"])
async def test_negative_settings_record_nothing(layer, alice, settings, name):
    """And break nothing, where nobody ran the checks."""
    setattr(settings, f"BAZIS_WS_HISTORY_{name}", -1)
    assert limits() is None
    async with Socket(alice.ws_token()) as socket:
        assert (await socket.subscribed())["position"] is None
        await publishing.apublish([alice], 1)
        assert await socket.data() == {"type": "data", "data": 1}


async def test_too_small_for_one_message(layer, alice, settings):
    """It arrives, with its position, and can't be replayed."""
    settings.BAZIS_WS_HISTORY_BYTES = 1
    async with Socket(alice.ws_token()) as socket:
        since = (await socket.subscribed())["position"]
        await publishing.apublish([alice], 1)
        assert (await socket.data())["position"]["user"].startswith("1.")
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["recovered"] is False
    async with Socket(alice.ws_token(), socket.position) as socket:
        assert (await socket.subscribed())["recovered"] is True


def test_keys_of_redis(alice, redis, settings):
    """Behind the prefix, in one slot a stream, with an end."""
    settings.BAZIS_WS_KEY_PREFIX = "shop."
    assert alice.ws_position
    alice.ws_publish(1, idempotency_key="k")
    keys = {key: redis.ttl(key) for key in redis.keys("shop.user_ws.*{*")}
    stream = f"shop.user_ws.{{asgi__group__user_ws.{alice.pk}}}"
    assert set(keys) >= {f"{stream}.stream", f"{stream}.messages"}
    assert 29 * 24 * 3600 < keys[f"{stream}.stream"] <= 30 * 24 * 3600
    assert 0 < keys[f"{stream}.messages"] <= 300
    [once] = [key for key in keys if ".once." in key]
    assert once.startswith(stream)
    assert 0 < keys[once] <= 300


async def test_a_projects_own_event_with_the_same_keys(layer, alice):
    """`record` and `once` mean something in the package's events alone."""
    channel = await layer.new_channel()
    await layer.group_add("orders", channel)
    event = {"type": "order.shipped", "record": {"n": 1}, "once": 5}
    await get_channel_layer().group_send("orders", event)
    assert await asyncio.wait_for(layer.receive(channel), 20) == event


async def test_redis_is_out_of_memory(alice, own_redis, settings):
    """Live messages arrive; positions are void, and who comes back is told."""
    server = own_redis(**{"maxmemory-policy": "noeviction"})
    settings.CHANNEL_LAYERS = server.channel_layers
    async with Socket(alice.ws_token()) as socket:
        since = (await socket.subscribed())["position"]
        limit = sync_to_async(lambda size: server.client.config_set("maxmemory", size))
        await limit("1")
        await publishing.apublish([alice], 1)
        assert (await socket.data())["data"] == 1
        await limit("0")
        await publishing.apublish([alice], 2)
        assert (await socket.data())["data"] == 2
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["recovered"] is False


async def test_messages_that_cannot_be_decoded_any_more(alice, settings, own_redis, caplog):
    """Written under other encryption keys: the client is told, and does not come back for ever."""
    server = own_redis()
    layers = server.channel_layers
    layers["default"]["CONFIG"]["symmetric_encryption_keys"] = ["one key"]
    settings.CHANNEL_LAYERS = layers
    since = await alice.ws_aposition()
    await publishing.apublish([alice], "secret")
    raw = redis_py.Redis.from_url(server.url)
    stored = await sync_to_async(raw.lrange)(
        f"user_ws.{{asgi__group__user_ws.{alice.pk}}}.messages", 0, -1
    )
    raw.close()
    assert len(stored) == 1
    assert b"secret" not in stored[0]
    async with Socket(alice.ws_token(), since) as socket:
        assert await socket.several(1) == ["secret"]
    other = {**server.channel_layers["default"]}
    other["CONFIG"] = {**other["CONFIG"], "symmetric_encryption_keys": ["another key"]}
    settings.CHANNEL_LAYERS = {"default": other}
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["recovered"] is False
        assert await socket.settle() == []
    assert "can't be decoded" in caplog.text
