"""Sending group messages: what a layer raises, time limits, the breaker."""

import asyncio

import pytest
from channels.exceptions import ChannelFull
from channels.layers import channel_layers, get_channel_layer
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bazis_ws_channels import sending
from bazis_ws_channels.exceptions import ChannelLayerUnavailable, MessageTooBig, PublishError
from bazis_ws_channels.layers import RedisPubSubChannelLayer
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.pool import pool_of

MESSAGE = ("group", {"type": "test"})
#: Nobody listens there.
AWAY = "redis://127.0.0.1:1"


class Layer:
    """A layer that does what the test says."""

    def __init__(self, error=None):
        self.error = error
        self.sent = []
        self.tries = 0

    async def group_send(self, group, message):
        """Send, or fail."""
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.sent.append((group, message))


class OwnLayer(Layer):
    """One that sends many together, and for which sync code needs no event loop."""

    def group_send_blocking(self, messages, limit_seconds, before):
        """Send, or fail."""
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.sent += messages
        return limit_seconds, before

    async def group_send_many(self, messages, before):
        """Send."""
        return self.group_send_blocking(messages, None, before)


@pytest.fixture
def use():
    """Make a layer the default one."""

    def use(layer):
        channel_layers.backends["default"] = layer
        return layer

    return use


def test_push_names_its_group():
    """So that what is late is known."""
    group, message = sending.push("user_ws.1", "{}")
    assert group == "user_ws.1"
    assert message == {"type": "ws.push", "group": "user_ws.1", "text": "{}"}


@pytest.mark.parametrize(("frame", "size"), [("x" * 11, 11), ("ü" * 6, 12)])
def test_the_size_is_in_bytes(settings, frame, size):
    """Not characters."""
    settings.BAZIS_WS_MAX_MESSAGE_BYTES = 10
    with pytest.raises(MessageTooBig) as caught:
        sending.refuse_too_big(frame)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (size, 10)
    sending.refuse_too_big("ü" * 5)


def test_rounds_are_of_a_bearable_size():
    """So that none keeps a loop busy."""
    rounds = list(sending.rounds(range(1001)))
    assert list(map(len, rounds)) == [500, 500, 1]
    assert [each for round_ in rounds for each in round_] == list(range(1001))
    assert list(sending.rounds([])) == []


def test_a_blocking_layer_gets_the_limit_and_the_command(use, settings):
    """And returns the reply to the command."""
    settings.BAZIS_WS_PUBLISH_TIMEOUT = 7
    layer = use(OwnLayer())
    before = (None, Command(("PING",)))
    assert sending.send([MESSAGE], before) == (7, before)
    assert layer.sent == [MESSAGE]


async def test_a_layer_that_takes_many_gets_them_at_once(use):
    """With the command, to which it returns the reply."""
    layer = use(OwnLayer())
    before = (None, Command(("PING",)))
    assert await sending.asend([MESSAGE, MESSAGE], before) == (None, before)
    assert (layer.sent, layer.tries) == ([MESSAGE, MESSAGE], 1)


def test_any_other_layer_is_driven_by_a_loop(use):
    """The command is left to the caller."""
    layer = use(Layer())
    assert sending.send([MESSAGE, MESSAGE], (None, Command(("PING",)))) is None
    assert layer.sent == [MESSAGE, MESSAGE]


async def test_channels_own_layer_delivers(use):
    """The in-memory one."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await sending.asend([MESSAGE])
    assert await layer.receive(channel) == {"type": "test"}


@pytest.mark.parametrize(
    ("error", "says", "opens"),
    [
        (RedisConnectionError("gone"), "Redis is out of reach: ConnectionError: gone", True),
        (OSError("no route"), "out of reach", True),
        (RedisTimeoutError("slow"), "Redis did not answer in time", True),
        (TimeoutError(), "took over 3 s", True),
        (ResponseError("wrong"), "Redis refused a command", False),
        (OutOfMemoryError("full"), "out of memory", False),
        (ChannelFull(), "ChannelFull", False),
        (ChannelLayerUnavailable("no"), "ChannelLayerUnavailable", False),
        (LookupError("of another layer"), "LookupError", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
@pytest.mark.parametrize("kind", [Layer, OwnLayer])
def test_whatever_a_layer_raises_is_a_publish_error(use, kind, error, says, opens):
    """And after a Redis that is out of reach the next call fails at once."""
    layer = use(kind(error))
    with pytest.raises(PublishError, match=says):
        sending.send([MESSAGE])
    with pytest.raises(PublishError, match="not tried again yet" if opens else says):
        sending.send([MESSAGE])
    assert layer.tries == (1 if opens else 2)
    other = use(kind())
    sending.send([MESSAGE])  # the breaker is that of the layer
    assert other.sent == [MESSAGE]


@pytest.mark.parametrize("hosts", [2, 1])
def test_a_server_that_is_away_takes_no_other_along(use, fake_redis, hosts):
    """Where a layer has several, the next call is for another one, as likely as not."""
    layer = use(RedisPubSubChannelLayer(hosts=[fake_redis.url, AWAY][-hosts:]))
    groups = {layer.host_of(layer.group_name(str(n))): str(n) for n in range(50)}
    with pytest.raises(PublishError, match="out of reach: ConnectionError"):
        sending.send([(groups[layer.hosts[-1]], {"type": "test"})])
    if hosts == 2:
        sending.send([(groups[layer.hosts[0]], {"type": "test"})])
        pool_of(layer.hosts[0]).disconnect()
    else:
        with pytest.raises(PublishError, match="not tried again yet"):
            sending.send([MESSAGE])


async def test_a_layer_that_hangs_costs_the_time_limit(use, settings):
    """And no more."""
    settings.BAZIS_WS_PUBLISH_TIMEOUT = 0

    class Hanging:
        async def group_send(self, group, message):
            await asyncio.Event().wait()

    use(Hanging())
    with pytest.raises(PublishError, match=r"took over 0 s \(BAZIS_WS_PUBLISH_TIMEOUT\)"):
        await sending.asend([MESSAGE])


async def test_blocking_on_a_loop_is_refused(monkeypatch):
    """As by Django's ORM, and with its way out."""
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    with pytest.raises(SynchronousOnlyOperation, match=r"use `await asend\(\.\.\.\)`"):
        sending.send([MESSAGE])
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    sending.refuse_on_loop("asend")


def test_no_channel_layer(settings):
    """The setting is named."""
    settings.CHANNEL_LAYERS = {}
    with pytest.raises(ImproperlyConfigured, match="CHANNEL_LAYERS"):
        sending.send([MESSAGE])
