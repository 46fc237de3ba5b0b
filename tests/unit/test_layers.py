"""The layer's shell, against a scripted server; what it promises is in tests/delivery."""

import asyncio
import contextlib

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from bazis_ws_channels import layers, loops
from bazis_ws_channels.layers import RedisPubSubChannelLayer
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.pool import pool_of
from tests.kit.waiting import until
from tests.unit.peers import CUT, FakeRedis

PING = Command(("PING",))


@pytest.fixture
async def layer(fake_redis):
    """A layer of one host."""
    layer = RedisPubSubChannelLayer(hosts=[fake_redis.url])
    yield layer
    await layer.flush()
    pool_of(layer.hosts[0]).disconnect()


def test_a_name_that_it_does_not_know(fake_redis):
    """Makes no connection, as the original's would."""
    layer = RedisPubSubChannelLayer(hosts=[fake_redis.url])
    with pytest.raises(AttributeError, match="'RedisPubSubChannelLayer' object has no attribute"):
        _ = layer.nothing


async def test_sending(layer, fake_redis):
    """One PUBLISH each."""
    await layer.send("channel", {"type": "a"})
    await layer.group_send("group", {"type": "b"})
    names = [command[:2] for command in fake_redis.commands]
    assert names == [["PUBLISH", "channel"], ["PUBLISH", "asgi__group__group"]]


async def test_a_channel_of_a_name_of_ones_own(layer, fake_redis):
    """As channels' `send` to a name that nobody made: it is subscribed to for itself."""
    receiving = asyncio.ensure_future(layer.receive("mine"))
    await until(lambda: ["SUBSCRIBE", "mine"] in fake_redis.commands)
    fake_redis.send([b"message", b"mine", layer.serialize({"type": "hello"})])
    assert await receiving == {"type": "hello"}
    assert list(layer.channels) == ["mine"]
    layer.discard_channel("mine")
    assert not layer.channels
    await until(lambda: ["UNSUBSCRIBE", "mine"] in fake_redis.commands)


async def test_a_receive_that_was_cancelled_forgets_its_channel_later(layer, monkeypatch):
    """Unless it was forgotten meanwhile."""
    monkeypatch.setattr(layers, "_CLOSE_SECONDS", 0)
    for is_forgotten in (False, True):
        channel = await layer.new_channel()
        receiving = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(0)
        if is_forgotten:
            layer.discard_channel(channel)
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
        await until(lambda: not layer.channels)


async def test_groups(layer, fake_redis):
    """Known while they have members."""
    first, second = [await layer.new_channel() for _ in range(2)]
    taken = []
    for channel in (first, second):
        await layer.group_add("g", channel)
        layer.receive_directly(channel, lambda parcel: taken.append(parcel) or True)
    assert layer.groups == {"asgi__group__g": {first, second}}
    fake_redis.send([b"message", b"asgi__group__g", layer.serialize({"type": "x"})])
    await until(lambda: len(taken) == 2)
    with pytest.raises(RuntimeError, match="needs a channel of this process"):
        await layer.group_add("g", "another's")
    for channel in (first, second):
        await layer.group_discard("g", channel)
        await layer.group_discard("g", channel)
    assert layer.groups == {}


async def test_many_deliveries_leave_others_their_turn(layer, fake_redis, monkeypatch):
    """After a while; a channel that goes meanwhile gets nothing."""
    monkeypatch.setattr(layers, "_RECIPIENTS_A_LOOK", 1)
    monkeypatch.setattr(loops, "_TURN_SECONDS", 0)
    channels = [await layer.new_channel() for _ in range(3)]
    taken = []

    def take(parcel):
        taken.append(parcel)
        asyncio.get_running_loop().call_soon(discard)
        return True

    def discard():
        for channel in channels[1:]:
            layer.discard_channel(channel)

    for channel in channels:
        await layer.group_add("g", channel)
        layer.receive_directly(channel, take)
    part = layer._parts.get()
    monkeypatch.setattr(part.members, "recipients", lambda name: channels)
    await part.deliver("asgi__group__g", [layer.serialize({"type": "x"})])
    assert len(taken) == 1


def push(layer, text, group="g", **more):
    """Return what Redis sends of a message of this package."""
    event = {"type": "ws.push", "group": group, "text": text, **more}
    return [b"message", b"asgi__group__" + group.encode(), layer.serialize(event)]


async def test_what_comes_at_once_is_handed_out_together(layer, fake_redis):
    """Messages of one group that follow one another; anything else by itself, in its place."""
    channel, taken = await layer.new_channel(), []
    for group in "gh":
        await layer.group_add(group, channel)
    layer.receive_directly(channel, lambda parcel: not taken.append(parcel))
    other = [b"message", b"asgi__group__g", layer.serialize({"type": "order.shipped"})]
    for reply in (
        push(layer, "1"), push(layer, "2"), other, push(layer, "3"), push(layer, "4", "h"),
        push(layer, "5", "h"), push(layer, "6", "h", __asgi_channel__=channel), other, other,
    ):  # fmt: skip
        fake_redis.send(reply)
    await until(lambda: sum(len(parcel.events) for parcel in taken) == 9)
    assert [[event.get("text", "-") for event in parcel.events] for parcel in taken] == [
        ["1", "2"], ["-"], ["3"], ["4", "5"], ["6"], ["-"], ["-"],
    ]  # fmt: skip


async def test_who_receives_gets_one_message_at_a_time(layer, fake_redis):
    """Those that came together, too; a message that can't be decoded stops no other."""
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    for reply in (push(layer, "1"), [*push(layer, "x")[:2], b"\xff"], push(layer, "2")):
        fake_redis.send(reply)
    assert [(await layer.receive(channel))["text"] for _ in range(2)] == ["1", "2"]


async def test_a_loss_is_told_to_everybody(fake_redis, caplog):
    """One whose callback fails stops nobody else."""
    told = []

    def fails():
        raise RuntimeError("a bug")

    layer = RedisPubSubChannelLayer(
        hosts=[fake_redis.url], on_disconnect=lambda: told.append("lost"), on_reconnect=fails
    )
    layer.reconnect_listeners.add(lambda: told.append("back"))
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    fake_redis.cut()
    await until(lambda: told == ["lost", "back"])
    assert "A channel layer callback failed." in caplog.text
    await layer.flush()


# --- many together --------------------------------------------------------------------------


@pytest.fixture
def shards():
    """Two servers, and a group on each."""
    with FakeRedis() as first, FakeRedis() as second:
        layer = RedisPubSubChannelLayer(hosts=[first.url, second.url])
        groups = {layer.host_of(f"asgi__group__{n}"): str(n) for n in range(50)}
        yield layer, (first, groups[layer.hosts[0]]), (second, groups[layer.hosts[1]])
        for host in layer.hosts:
            pool_of(host).disconnect()


def send(layer, *groups, before=None):
    """Send to groups from sync code."""
    return layer.group_send_blocking([(group, {"type": "x"}) for group in groups], 5, before)


def asend(layer, *groups, before=None):
    """Send to groups from async code."""
    messages = [(group, {"type": "x"}) for group in groups]
    return asyncio.run(layer.group_send_many(messages, before))


both = pytest.mark.parametrize("send", [send, asend])


@both
def test_a_command_goes_before_the_messages(shards, send):
    """In the same write; its reply is returned, be it an error."""
    layer, (first, group), _ = shards
    assert send(layer, group, before=(layer.hosts[0], PING)) == b"PONG"
    assert first.names() == ["PING", "PUBLISH"]
    first.answer("PING", Exception("ERR no"))
    assert isinstance(send(layer, group, before=(layer.hosts[0], PING)), ResponseError)
    assert send(layer, group) is None


@both
def test_a_command_to_a_host_of_its_own_fails_no_message(shards, send):
    """Nor do the messages fail it."""
    layer, (first, _), (second, group) = shards
    first.answer("PING", CUT)
    reply = send(layer, group, before=(layer.hosts[0], PING))
    assert isinstance(reply, RedisConnectionError)
    assert second.names() == ["PUBLISH"]


@both
def test_a_message_that_is_refused_is_an_error(shards, send):
    """As is one that was lost; the others are sent."""
    layer, (first, one), (second, other) = shards
    first.answer("PUBLISH", Exception("NOPERM no"), CUT)
    for error in (ResponseError, RedisConnectionError):
        with pytest.raises(error):
            send(layer, one, other)
    assert second.names() == ["PUBLISH"] * 2


@both
def test_a_host_that_is_lost_with_the_command_and_a_message(shards, send):
    """Is the message's error."""
    layer, (first, group), _ = shards
    first.answer("PING", CUT)
    with pytest.raises(RedisConnectionError):
        send(layer, group, before=(layer.hosts[0], PING))
