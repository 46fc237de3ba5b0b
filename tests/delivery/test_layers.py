"""Faults that our channel layer mends; each is first shown in channels-redis's own layer."""

import asyncio
import random
import subprocess
import sys

import pytest
from asgiref.sync import sync_to_async
from channels_redis.pubsub import RedisPubSubChannelLayer as Original
from redis.exceptions import NoPermissionError, RedisError

from bazis_ws_channels.exceptions import ChannelLayerUnavailable
from bazis_ws_channels.layers import RedisPubSubChannelLayer as Ours
from tests.delivery import etimedout
from tests.kit import DOWN, PATIENCE_SECONDS, ROOT, UP, Proxy, move_clock, until

GROUP = "asgi__group__g"
both = pytest.mark.parametrize("layer_class", [Original, Ours], ids=["original", "ours"])


async def member(layer, *groups):
    """Return a new channel in `groups`."""
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    return channel


async def receive(layer, channel):
    """Return the next message, in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await layer.receive(channel)


async def flows(layer, group, channel):
    """Publish until a message comes: what is sent while the link is down is lost."""
    received = asyncio.ensure_future(layer.receive(channel))

    async def attempt():
        try:
            await layer.group_send(group, {"type": "probe"})
        except (RedisError, OSError):
            pass
        return received.done()

    await until(attempt)
    await layer.group_send(group, {"type": "drained"})
    while (await receive(layer, channel))["type"] != "drained":
        pass


def run_etimedout(layer_class, url):
    """Run `etimedout.py` in a process of its own, which may freeze."""
    command = [sys.executable, "-m", etimedout.__name__, layer_class.__module__, url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("layer_class", "outcome"), [(Original, "frozen"), (Ours, "alive")])
async def test_an_etimedout_does_not_freeze_the_event_loop(valkey, layer_class, outcome):
    """redis-py takes the error for "nothing came", and the original asks again at once."""
    result = await asyncio.to_thread(run_etimedout, layer_class, valkey.url)
    assert result.stdout.split() == [outcome], result.stderr


async def give_up(layer, channel):
    """Cancel a `receive`, as a consumer that ends or a time limit does."""
    receiving = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)


@pytest.mark.parametrize(("layer_class", "left"), [(Original, {GROUP}), (Ours, set())])
async def test_a_cancelled_receive_leaves_no_subscription(valkey, make_layer, layer_class, left):
    """A consumer that dies has called no `group_discard`; a while later it is forgotten."""
    layer = make_layer(valkey.url, layer_class=layer_class)
    channel = await member(layer, "g")
    await until(lambda: GROUP in valkey.subscribed())
    await give_up(layer, channel)
    move_clock(15)
    # Redis works off a connection's commands in order: when it knows the fence, it knows all.
    await member(layer, "fence")
    await until(lambda: "asgi__group__fence" in valkey.subscribed())
    assert valkey.subscribed() & {GROUP} == left


async def test_a_consumer_that_goes_is_forgotten_everywhere(valkey, make_layer):
    """A process that runs for months must not grow by a connection's name."""
    layer = make_layer(valkey.url)
    await give_up(layer, await member(layer, "g", "h"))
    move_clock(15)
    await until(lambda: len(valkey.subscribed()) == 1)  # the process's own
    assert not layer.channels
    assert not layer.groups


async def test_a_receive_that_timed_out_has_left_no_group(valkey, make_layer):
    """Views with server-sent events wait in a loop with a time limit, and write in between."""
    layer = make_layer(valkey.url)
    channel = await member(layer, "g")
    for number in range(3):
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(layer.receive(channel), 0.01)
            move_clock(4)
        await layer.group_send("g", {"type": "x", "n": number})
        assert await receive(layer, channel) == {"type": "x", "n": number}


async def test_the_original_says_subscribed_before_redis_does(valkey, make_layer):
    """`group_add` returns while the SUBSCRIBE is still on its way."""
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url, layer_class=Original)
        await flows(layer, "warm", await member(layer, "warm"))
        proxy.hold()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await member(layer, "g")
        assert GROUP not in valkey.subscribed()


async def test_group_add_returns_once_redis_has_confirmed(valkey, make_layer):
    """Messages published after it arrive."""
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url)
        channel = await member(layer, "warm")
        proxy.hold()
        adding = asyncio.ensure_future(layer.group_add("g", channel))
        await until(lambda: GROUP.encode() in proxy.held)
        assert not adding.done()
        proxy.release()
        await adding
        assert GROUP in valkey.subscribed()


@both
async def test_a_reconnect_is_told(valkey, make_layer, layer_class):
    """The original takes the two callbacks and never calls them."""
    told = []
    with Proxy(valkey.url) as proxy:
        layer = make_layer(
            proxy.url,
            layer_class=layer_class,
            on_disconnect=lambda: told.append("disconnect"),
            on_reconnect=lambda: told.append("reconnect"),
        )
        channel = await member(layer, "g")
        await flows(layer, "g", channel)
        proxy.cut()
        await flows(layer, "g", channel)
        expected = [] if layer_class is Original else ["disconnect", "reconnect"]
        await until(lambda: told == expected)


async def test_a_callback_that_fails_is_logged_and_no_more(valkey, make_layer, caplog):
    """Somebody else's bug must not cost the subscriptions."""
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url, on_disconnect=lambda: 1 / 0, on_reconnect=lambda: 1 / 0)
        channel = await member(layer, "g")
        proxy.cut()
        await flows(layer, "g", channel)
        assert caplog.text.count("A channel layer callback failed.") == 2


async def test_a_reconnect_is_told_though_a_group_was_left_meanwhile(valkey, make_layer):
    """The last confirmation that is waited for may be of a group that nobody wants any more."""
    told = []
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url, on_reconnect=lambda: told.append("reconnect"))
        groups = [f"group{n:02}" for n in range(20)]
        channel = await member(layer, *groups)
        proxy.hold_at(b"SUBSCRIBE")
        proxy.cut()
        await until(lambda: proxy.held.count(b"asgi__group__") == len(groups))
        last = max(groups, key=lambda group: proxy.held.index(group.encode()))
        proxy.hold_at(last.encode(), DOWN)
        proxy.release(UP)
        for group in {*groups} - {last}:
            await layer.group_add(group, channel)  # returns once it is confirmed anew
        await layer.group_discard(last, channel)
        proxy.release()
        await until(lambda: told)


@pytest.mark.parametrize(("layer_class", "dies"), [(Original, True), (Ours, False)])
async def test_a_poison_message_ends_nobody(valkey, make_layer, layer_class, dies):
    """A dict with int keys can be packed, not unpacked: in the original at each recipient."""
    layer = make_layer(valkey.url, layer_class=layer_class)
    channels = [await member(layer, "g") for _ in range(3)]
    await until(lambda: GROUP in valkey.subscribed())
    await layer.group_send("g", {"type": "poison", 1: 2})
    await layer.group_send("g", {"type": "good"})
    receiving = [receive(layer, channel) for channel in channels]
    results = await asyncio.gather(*receiving, return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [dies] * 3
    assert dies or results == [{"type": "good"}] * 3


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x93\x01\x02\x03"])
async def test_rubbish_in_a_group_is_dropped(valkey, make_layer, data):
    """Other users of the Redis may publish anything."""
    layer = make_layer(valkey.url)
    channel = await member(layer, "g")
    await sync_to_async(valkey.client.publish)(GROUP, data)
    await layer.group_send("g", {"type": "good"})
    assert await receive(layer, channel) == {"type": "good"}


@pytest.mark.parametrize(("layer_class", "count"), [(Original, 50), (Ours, 1)])
async def test_a_process_subscribes_once_for_all_its_consumers(
    valkey, make_layer, layer_class, count
):
    """Each consumer has a channel of its own; Redis need not know each."""
    layer = make_layer(valkey.url, layer_class=layer_class)
    for _ in range(50):
        await layer.new_channel()
    await until(lambda: len(valkey.subscribed()) >= count)
    assert len(valkey.subscribed()) == count


async def test_a_consumers_own_channel_is_its_own(valkey, make_layer):
    """Also when the message comes from another process."""
    layer, other = make_layer(valkey.url), make_layer(valkey.url)
    first, second = await layer.new_channel(), await layer.new_channel()
    await other.send(second, {"type": "for second"})
    await other.send(first, {"type": "for first"})
    assert await receive(layer, first) == {"type": "for first"}
    assert await receive(layer, second) == {"type": "for second"}


async def test_a_message_is_decoded_once_for_those_who_take_it_directly(valkey, make_layer):
    """Not once for each of its recipients, as it is for those who may change it."""
    decoded, taken = [], []

    class Counting(Ours):
        def deserialize(self, message):
            decoded.append(message)
            return super().deserialize(message)

    layer = make_layer(valkey.url, layer_class=Counting)
    for _ in range(10):
        layer.receive_directly(
            await member(layer, "g"), lambda parcel: not taken.extend(parcel.events)
        )
    await layer.group_send("g", {"type": "good", "n": 1})
    await until(lambda: len(taken) == 10)
    assert taken == [{"type": "good", "n": 1}] * 10
    assert len(decoded) == 1


async def test_a_recipient_that_changes_a_message_changes_its_own(valkey, make_layer):
    """At any depth: what a staff handler adds must not go to the customer's socket."""
    layer = make_layer(valkey.url)
    channels = [await member(layer, "g") for _ in range(3)]
    taken = []
    layer.receive_directly(channels[2], lambda parcel: not taken.extend(parcel.events))
    await layer.group_send("g", {"type": "good", "order": {"lines": [1]}})
    first = await receive(layer, channels[0])
    first["order"]["margin"] = 0.4
    first["order"]["lines"].append(2)
    assert await receive(layer, channels[1]) == {"type": "good", "order": {"lines": [1]}}
    assert taken == [{"type": "good", "order": {"lines": [1]}}]


@pytest.mark.parametrize(("layer_class", "count"), [(Original, 1), (Ours, 100)])
async def test_publishing_calls_share_a_round_trip(valkey, make_layer, layer_class, count):
    """The original sends the next when the one before is answered."""
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url, layer_class=layer_class)
        await layer.group_send("g", {"type": "warm"})
        proxy.hold()
        sending = [layer.group_send("g", {"type": "x", "n": n}) for n in range(100)]
        sending = asyncio.gather(*sending)
        await until(lambda: proxy.held.count(b"PUBLISH") >= count)
        assert proxy.held.count(b"PUBLISH") == count
        proxy.release()
        await sending


async def test_one_message_that_redis_refuses_fails_alone(valkey, make_layer):
    """Those that shared its round trip are delivered."""
    rule = ("resetchannels", "&asgispecific.*", "&asgi__group__g")
    await sync_to_async(valkey.client.execute_command)("ACL", "SETUSER", "default", *rule)
    layer = make_layer(valkey.url)
    channel = await member(layer, "g")
    groups = ("g", "forbidden", "g")
    sending = [layer.group_send(group, {"type": group}) for group in groups]
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), NoPermissionError, type(None)]
    assert [await receive(layer, channel) for _ in range(2)] == [{"type": "g"}] * 2


async def test_who_gave_up_publishing_does_not_publish_later(valkey, make_layer):
    """A call that ran into its time limit has raised: its message must not follow."""
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url)
        channel = await member(layer, "g")
        await layer.group_send("g", {"type": "warm"})
        proxy.hold()
        first = asyncio.ensure_future(layer.group_send("g", {"type": "first"}))
        await until(lambda: b"PUBLISH" in proxy.held)
        second = asyncio.ensure_future(layer.group_send("g", {"type": "given up"}))
        await asyncio.sleep(0)
        second.cancel()
        proxy.release()
        await first
        await layer.group_send("g", {"type": "third"})
        received = [(await receive(layer, channel))["type"] for _ in range(3)]
        assert received == ["warm", "first", "third"]


async def test_messages_keep_their_order(valkey, make_layer):
    """A thousand at once, in the order of the calls."""
    layer = make_layer(valkey.url)
    channel = await member(layer, "g")
    sending = [layer.group_send("g", {"type": "x", "n": n}) for n in range(1000)]
    await asyncio.gather(*sending)
    assert [(await receive(layer, channel))["n"] for _ in range(1000)] == list(range(1000))


async def test_everything_flows_again_after_redis_restarted(valkey, make_layer):
    """Groups and a consumer's own channel, though the new Redis knows nothing of them."""
    layer = make_layer(valkey.url)
    channel = await member(layer, "g", "h")
    await asyncio.to_thread(valkey.stop)
    with pytest.raises((RedisError, OSError)):
        await layer.group_send("g", {"type": "x"})
    await asyncio.to_thread(valkey.start)
    await flows(layer, "g", channel)
    await layer.group_send("h", {"type": "h"})
    await layer.send(channel, {"type": "own"})
    assert [(await receive(layer, channel))["type"] for _ in range(2)] == ["h", "own"]


async def test_subscriptions_come_back_after_a_very_long_outage(valkey, make_layer, monkeypatch):
    """Over a thousand attempts to connect: the clock is moved by not waiting between them."""
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url)
        channel = await member(layer, "g")
        with monkeypatch.context() as patch:
            patch.setattr(random, "uniform", lambda low, high: 0.0)
            proxy.refuse()
            proxy.cut()
            await until(lambda: proxy.accepted > 1100)
        proxy.accept()
        await flows(layer, "g", channel)


async def test_a_link_that_went_silent_is_noticed(valkey, make_layer):
    """Half-open: nothing comes any more, and nothing says so but a ping without an answer."""
    told = []
    with Proxy(valkey.url) as proxy:
        layer = make_layer(proxy.url, on_disconnect=lambda: told.append("disconnect"))
        channel = await member(layer, "g")
        proxy.go_silent()
        await until(lambda: move_clock(5) or told)
        await flows(layer, "g", channel)


async def test_a_hanging_redis_costs_a_time_limit_and_no_more(valkey, make_layer):
    """Publishing raises; when Redis goes on, so does everything."""
    layer = make_layer({"address": valkey.url, "socket_timeout": 0.2})
    channel = await member(layer, "g")
    valkey.pause()
    with pytest.raises(RedisError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await layer.group_send("g", {"type": "x"})
    valkey.resume()
    await flows(layer, "g", channel)


async def test_a_subscription_that_is_not_confirmed_raises_and_is_taken_back(valkey, make_layer):
    """Nobody believes to be in a group that Redis doesn't know."""
    layer = make_layer(valkey.url)
    channel = await member(layer, "g")
    valkey.pause()
    adding = asyncio.ensure_future(layer.group_add("late", channel))
    await asyncio.sleep(0)
    move_clock(5)
    with pytest.raises(ChannelLayerUnavailable, match="did not confirm"):
        await adding
    valkey.resume()
    await flows(layer, "g", channel)
    assert list(layer.groups) == [GROUP]
    await until(lambda: "asgi__group__late" not in valkey.subscribed())


async def test_group_add_refuses_a_channel_of_another_process(valkey, make_layer):
    """As the original does: its messages would go nowhere."""
    with pytest.raises(RuntimeError, match="needs a channel of this process"):
        await make_layer(valkey.url).group_add("g", "somebody.else")


async def test_joining_a_group_again_waits_for_its_own_confirmation(valkey, make_layer):
    """Not for that of the SUBSCRIBE before, behind which an UNSUBSCRIBE is on its way."""
    with Proxy(valkey.url) as proxy:
        layer, other = make_layer(proxy.url), make_layer(valkey.url)
        channel = await member(layer, "fence")
        proxy.hold()
        first = asyncio.ensure_future(layer.group_add("g", channel))
        await until(lambda: GROUP.encode() in proxy.held)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        again = asyncio.ensure_future(layer.group_add("g", channel))
        proxy.hold_at(b"UNSUBSCRIBE")
        proxy.release()
        await until(lambda: b"UNSUBSCRIBE" in proxy.held)
        await until(lambda: GROUP in valkey.subscribed())
        await other.group_send("fence", {"type": "fence"})
        await receive(layer, channel)
        assert not again.done()
        proxy.release()
        await again
        await other.group_send("g", {"type": "x"})
        assert await receive(layer, channel) == {"type": "x"}


async def test_several_hosts_share_the_groups(own_redis, make_layer):
    """Each group lives on one shard, the same for every process."""
    first, second = own_redis(), own_redis()
    layer, other = (make_layer(first.url, second.url) for _ in range(2))
    groups = [f"g{n}" for n in range(20)]
    channel = await member(layer, *groups)
    shards = [{name for name in each.subscribed() if "group" in name} for each in (first, second)]
    assert all(shards)
    assert shards[0] | shards[1] == {f"asgi__group__{group}" for group in groups}
    for group in groups:
        await other.group_send(group, {"type": group})
    await other.send(channel, {"type": "own"})
    received = {(await receive(layer, channel))["type"] for _ in range(21)}
    assert received == {*groups, "own"}


async def test_a_shard_that_is_down_takes_only_its_own_groups_along(own_redis, make_layer):
    """The other's flow on; its own come back with it."""
    first, second = own_redis(), own_redis()
    layer = make_layer(first.url, second.url)
    groups = [f"g{n}" for n in range(20)]
    channel = await member(layer, *groups)
    of_first = next(group for group in groups if f"asgi__group__{group}" in first.subscribed())
    of_second = next(group for group in groups if f"asgi__group__{group}" in second.subscribed())
    await asyncio.to_thread(first.stop)
    await layer.group_send(of_second, {"type": "x"})
    assert await receive(layer, channel) == {"type": "x"}
    with pytest.raises((RedisError, OSError)):
        await layer.group_send(of_first, {"type": "x"})
    await asyncio.to_thread(first.start)
    await flows(layer, of_first, channel)


async def test_flush_closes_the_connections(valkey, make_layer):
    """And the layer can be used again."""
    layer = make_layer(valkey.url)
    await layer.group_send("g", {"type": "x"})
    await member(layer, "g")
    assert len(valkey.clients()) == 2
    await layer.flush()
    await until(lambda: not valkey.clients())
    await flows(layer, "g", await member(layer, "g"))


# --- beside channels-redis's own layer, as in a rolling change of layers ---------------------


async def test_what_the_original_sends_to_our_channel_arrives(valkey, make_layer):
    """A process with the new layer gets what one with the old still sends it, and back."""
    ours, original = make_layer(valkey.url), make_layer(valkey.url, layer_class=Original)
    channels = [await ours.new_channel() for _ in range(2)]
    others = await original.new_channel()
    for channel in channels:
        await original.send(channel, {"type": channel})
    for channel in channels:
        assert await receive(ours, channel) == {"type": channel}
    await ours.send(others, {"type": "back"})
    assert await receive(original, others) == {"type": "back"}
    await ours.send(channels[0], {"type": "once"})
    await ours.send(channels[0], {"type": "more"})
    assert [(await receive(ours, channels[0]))["type"] for _ in range(2)] == ["once", "more"]


async def test_groups_flow_between_both(valkey, make_layer):
    """One prefix, one name for a group."""
    ours, original = make_layer(valkey.url), make_layer(valkey.url, layer_class=Original)
    members = {layer: await member(layer, "g") for layer in (ours, original)}
    await until(lambda: valkey.client.pubsub_numsub(GROUP) == [(GROUP, 2)])
    for sender in members:
        await sender.group_send("g", {"type": "x"})
        assert [await receive(*each) for each in members.items()] == [{"type": "x"}] * 2


async def test_over_several_shards_too(own_redis, make_layer):
    """The original sends on the shard of the whole name."""
    urls = [own_redis().url for _ in range(2)]
    ours, original = make_layer(*urls), make_layer(*urls, layer_class=Original)
    for _ in range(8):
        channel = await ours.new_channel()
        await flows_to(original, ours, channel)


async def flows_to(sender, layer, channel):
    """Send until it comes: the pattern is not waited for."""
    received = asyncio.ensure_future(layer.receive(channel))

    async def attempt():
        await sender.send(channel, {"type": "x"})
        return received.done()

    await until(attempt)


async def test_without_patterns_all_else_works(valkey, make_layer, caplog):
    """An ACL matches a pattern only by the letter, and its letters are random: it is refused."""
    rule = ("resetchannels", "&asgi*")
    await sync_to_async(valkey.client.execute_command)("ACL", "SETUSER", "default", *rule)
    with Proxy(valkey.url) as proxy:
        layer, other = make_layer(proxy.url), make_layer(valkey.url)
        channel = await member(layer, "g")
        await other.send(channel, {"type": "own"})
        assert await receive(layer, channel) == {"type": "own"}
        proxy.cut()
        await flows(layer, "g", channel)
    assert "permits no PSUBSCRIBE" in caplog.text


@pytest.mark.parametrize("prefix", ["asgi", "p" * 58, "with*[stars]?"])
async def test_names_of_channels_are_as_long_as_the_originals_at_most(valkey, make_layer, prefix):
    """Channels takes names under 100 characters; special characters of patterns stay plain."""
    layer, other = (make_layer(valkey.url, prefix=prefix) for _ in range(2))
    original = make_layer(valkey.url, layer_class=Original, prefix=prefix)
    channel = await layer.new_channel()
    assert len(channel) <= len(await original.new_channel()) < 100
    await other.send(channel, {"type": "own"})
    assert await receive(layer, channel) == {"type": "own"}
    await flows_to(original, layer, channel)


@both
async def test_a_group_is_no_pattern(valkey, make_layer, layer_class):
    """Whatever characters a project's groups have."""
    layer = make_layer(valkey.url, layer_class=layer_class)
    channel = await member(layer, "g*", "end")
    await until(lambda: len(valkey.subscribed()) >= 3)
    for group in ("gone", "g*", "end"):
        await layer.group_send(group, {"type": group})
    assert [(await receive(layer, channel))["type"] for _ in range(2)] == ["g*", "end"]
