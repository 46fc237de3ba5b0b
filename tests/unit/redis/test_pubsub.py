"""Subscriptions, wanted and confirmed; and the subscriber against a scripted server."""

import asyncio

import pytest

from bazis_ws_channels.exceptions import ChannelLayerUnavailable
from bazis_ws_channels.redis import arrivals, link, pubsub, subscriptions
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.connection import Connection
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.pubsub import Subscriber
from bazis_ws_channels.redis.subscriptions import Subscriptions
from tests.kit.waiting import until
from tests.unit.peers import CUT, SILENCE

# --- what is wanted, without I/O ------------------------------------------------------------


@pytest.fixture
async def wanted():
    """Nothing yet."""
    return Subscriptions()


async def test_wanting_and_confirming(wanted):
    """All who want a channel wait for the same."""
    assert wanted.are_confirmed
    waiter, is_new = wanted.want("a")
    assert is_new
    assert wanted.want("a") == (waiter, False)
    assert not wanted.are_confirmed
    wanted.asked("a")
    wanted.confirm("a")
    assert waiter.done()
    assert wanted.is_confirmed("a")
    assert wanted.are_confirmed
    assert set(wanted.wanted) == {"a"}


async def test_leaving_and_joining_again_waits_for_its_own_confirmation(wanted):
    """Not for that of the first SUBSCRIBE, behind which an UNSUBSCRIBE is on its way."""
    first, _ = wanted.want("a")
    wanted.asked("a")
    assert wanted.unwant("a")
    assert first.cancelled()
    second, is_new = wanted.want("a")
    assert is_new
    wanted.asked("a")
    wanted.confirm("a")
    assert not second.done()
    wanted.confirm("a")
    assert second.done()


async def test_of_several_servers_the_one_where_it_belongs_confirms(wanted):
    """A late confirmation of another counts there alone."""
    old, new = object(), object()
    waiter, _ = wanted.want("a")
    wanted.asked("a", old)
    wanted.asked("a", new)
    wanted.confirm("a", old, is_home=False)
    assert not waiter.done()
    wanted.confirm("a", new)
    assert waiter.done()


async def test_a_server_that_refuses(wanted):
    """What was asked of it is asked no more; of others it is."""
    here, there = object(), object()
    waiters = {channel: wanted.want(channel)[0] for channel in "abc"}
    for channel, server in (("a", here), ("b", here), ("c", there)):
        wanted.asked(channel, server)
    assert wanted.refuse(here, lambda channel: channel == "a") == ["a"]
    wanted.asked("a", there)
    wanted.confirm("a", there)
    assert waiters["a"].done()
    assert wanted.refuse(here, lambda channel: True) == ["b"]
    assert wanted.refuse(here, lambda channel: True) == []
    wanted.confirm("c", there)
    assert waiters["c"].done()
    assert not waiters["b"].done()


async def test_some_channels_are_lost(wanted):
    """The others stay; who wants one of those waits again."""
    for channel in "ab":
        wanted.want(channel)
        wanted.asked(channel)
        wanted.confirm(channel)
    assert not wanted.lost(["c"])
    assert wanted.lost(["a", "c"])
    assert not wanted.is_confirmed("a")
    assert wanted.is_confirmed("b")
    waiter, is_new = wanted.want("a")
    assert not is_new
    wanted.asked("a")
    wanted.confirm("a")
    assert waiter.done()


async def test_who_wants_it_no_longer_confirms_nothing(wanted):
    """The confirmation comes late."""
    assert not wanted.unwant("a")
    wanted.want("a")
    wanted.asked("a")
    wanted.unwant("a")
    wanted.confirm("a")
    assert not wanted.is_confirmed("a")
    assert wanted.are_confirmed


async def test_after_a_loss_everything_is_waited_for_again(wanted):
    """What was confirmed, and what was not."""
    done, _ = wanted.want("a")
    waiting, _ = wanted.want("b")
    for channel in "ab":
        wanted.asked(channel)
    wanted.confirm("a")
    assert wanted.lost() is True
    assert wanted.lost() is False
    again, is_new = wanted.want("a")
    assert again is not done
    assert not is_new
    assert wanted.want("b") == (waiting, False)
    for channel in "ab":
        wanted.asked(channel)
        wanted.confirm(channel)
    assert again.done()
    assert waiting.done()


async def test_a_cancelled_waiter_is_no_error(wanted):
    """Somebody gave up just now."""
    waiter, _ = wanted.want("a")
    wanted.asked("a")
    waiter.cancel()
    wanted.confirm("a")
    assert wanted.is_confirmed("a")
    wanted.clear()
    assert not wanted.wanted


# --- the subscriber -------------------------------------------------------------------------


class World:
    """A subscriber, and what it told."""

    def __init__(self, server):
        self.server, self.delivered, self.told = server, [], []
        host = Host({"address": server.url, "socket_timeout": 5})
        self.connection = Connection(host)
        lost, back = (lambda word=word: self.told.append(word) for word in ("lost", "back"))
        self.subscriber = Subscriber(self.find, self.deliver, lost, back)

    async def find(self):
        """Return the connection."""
        return self.connection

    async def deliver(self, name, payloads):
        """Take messages."""
        self.delivered += [(name, data) for data in payloads]

    async def close(self):
        """Close both."""
        await self.subscriber.close()
        await self.connection.close()

    def verbs(self):
        """Return what was asked for, without pings."""
        return [command for command in self.server.commands if command[0] != "PING"]


@pytest.fixture
async def world(fake_redis):
    """At rest."""
    world = World(fake_redis)
    yield world
    await world.close()


async def test_subscribing_waits_for_redis_to_say_so(world, fake_redis):
    """Then what is published arrives; a second one costs nothing."""
    await world.subscriber.subscribe("a")
    world.subscriber.subscribe_to_pattern("own!*")
    world.subscriber.subscribe_to_pattern("own!*")
    await world.subscriber.subscribe("a")
    await until(lambda: world.verbs() == [["SUBSCRIBE", "a"], ["PSUBSCRIBE", "own!*"]])
    fake_redis.send([b"message", b"a", b"1"])
    fake_redis.send([b"pmessage", b"own!*", b"own!7", b"2"])
    fake_redis.send([b"unsubscribe", b"x", 0])
    await until(lambda: len(world.delivered) == 2)
    assert world.delivered == [("a", b"1"), ("own!7", b"2")]
    assert world.subscriber.is_confirmed
    assert world.told == []


async def test_those_of_one_turn_go_together(world, fake_redis, monkeypatch):
    """In commands of a bearable size, the verbs in their order."""
    monkeypatch.setattr(subscriptions, "_CHUNK", 2)
    await world.subscriber.subscribe("first")
    await asyncio.gather(*(world.subscriber.subscribe(name) for name in "abc"))
    world.subscriber.subscribe_to_pattern("p*")
    world.subscriber.unsubscribe("a")
    world.subscriber.unsubscribe("never")
    await until(lambda: len(world.verbs()) == 5)
    assert world.verbs()[1:] == [
        ["SUBSCRIBE", "a", "b"], ["SUBSCRIBE", "c"], ["PSUBSCRIBE", "p*"], ["UNSUBSCRIBE", "a"],
    ]  # fmt: skip


async def test_a_subscription_that_is_not_confirmed_in_time(world, fake_redis, monkeypatch):
    """Raises; it may be confirmed later all the same."""
    monkeypatch.setattr(pubsub, "TIMEOUT_SECONDS", 0.05)
    fake_redis.answer("SUBSCRIBE", SILENCE)
    with pytest.raises(ChannelLayerUnavailable, match="did not confirm"):
        await world.subscriber.subscribe("a")
    fake_redis.send([b"subscribe", b"a", 1])
    await until(lambda: world.subscriber.is_confirmed)


async def test_a_loss_is_told_once_and_made_good(world, fake_redis, caplog):
    """Everything wanted is subscribed again, then it is told."""
    for name in "ab":
        await world.subscriber.subscribe(name)
    world.subscriber.subscribe_to_pattern("p*")
    await until(lambda: len(world.verbs()) == 3)
    fake_redis.answer("SUBSCRIBE", CUT)
    fake_redis.cut()
    await until(lambda: world.told == ["lost", "back"])
    assert fake_redis.accepted == 3
    again = {name for _, *names in world.verbs()[3:] for name in names}
    assert again == {"a", "b", "p*"}
    assert "No subscriptions at Redis" in caplog.text
    assert caplog.text.count("The subscriptions at Redis are back") == 1
    fake_redis.send([b"message", b"a", b"1"])
    await until(lambda: world.delivered)


async def test_an_outage_before_the_first_subscription(world, fake_redis, caplog):
    """Nothing was lost by it; but it was logged, so its end is logged too."""
    fake_redis.answer("SUBSCRIBE", CUT)
    await world.subscriber.subscribe("a")
    assert world.told == []
    levels = {record.message.partition(":")[0]: record.levelname for record in caplog.records}
    assert levels == {
        "No subscriptions at Redis": "ERROR",
        "The subscriptions at Redis are back.": "ERROR",
    }


async def test_nothing_is_left_to_subscribe_after_a_loss(world, fake_redis):
    """It is told all the same."""
    await world.subscriber.subscribe("a")
    fake_redis.answer("SUBSCRIBE", CUT)
    fake_redis.cut()
    await until(lambda: world.told == ["lost"])
    world.subscriber.unsubscribe("a")
    await until(lambda: world.told == ["lost", "back"])


async def test_who_subscribes_while_redis_is_away_waits_for_it(world, fake_redis):
    """The next connection subscribes to all."""
    fake_redis.answer("SUBSCRIBE", CUT)
    await world.subscriber.subscribe("a")
    assert fake_redis.accepted == 2
    assert world.told == []  # nothing had been there to lose


async def test_a_silent_link_is_pinged_and_then_given_up(world, fake_redis, monkeypatch):
    """A ping that is answered keeps it."""
    await world.subscriber.subscribe("a")
    monkeypatch.setattr(link, "_PING_SECONDS", 0.05)
    monkeypatch.setattr(link, "PONG_SECONDS", 0.3)
    world.subscriber._listener.reconnect()
    await until(lambda: fake_redis.names().count("PING") >= 3)
    assert fake_redis.accepted == 2
    fake_redis.answer("PING", *[SILENCE] * 50)
    await until(lambda: fake_redis.accepted == 3)
    fake_redis.answer("PING")
    await until(lambda: world.told == ["lost", "back", "lost", "back"])


async def test_a_primary_that_became_a_replica_is_left(world, fake_redis):
    """The shared connection found out."""
    await world.subscriber.subscribe("a")
    for listener in tuple(world.connection.demotion_listeners):
        listener()
    await until(lambda: world.told == ["lost", "back"])
    assert fake_redis.accepted == 2


async def test_reconnecting_without_a_connection_is_nothing(world, fake_redis):
    """There is none to leave."""
    world.subscriber._listener.reconnect()
    assert fake_redis.accepted == 0


async def test_a_delivery_that_fails_is_logged_and_the_link_made_anew(world, fake_redis, caplog):
    """With its traceback: it is a bug."""
    await world.subscriber.subscribe("a")

    async def fails(name, payloads):
        raise RuntimeError("a bug")

    world.subscriber._arrivals._deliver = fails
    fake_redis.send([b"message", b"a", b"1"])
    await until(lambda: world.told == ["lost", "back"])
    [record] = [each for each in caplog.records if "be handed out" in each.getMessage()]
    assert record.exc_info


async def test_what_came_before_a_loss_is_delivered(world, fake_redis):
    """The end of the connection doesn't cut off what is being handed out."""
    may_go_on = asyncio.Event()

    async def waits(name, payloads):
        await may_go_on.wait()
        await world.deliver(name, payloads)

    world.subscriber._arrivals._deliver = waits
    await world.subscriber.subscribe("a")
    fake_redis.send([b"message", b"a", b"1"])
    await until(lambda: world.subscriber._arrivals._task is not None)
    fake_redis.cut()
    await until(lambda: world.told == ["lost", "back"])
    assert world.delivered == []
    fake_redis.send([b"message", b"a", b"2"])
    may_go_on.set()
    await until(lambda: len(world.delivered) == 2)
    assert world.delivered == [("a", b"1"), ("a", b"2")]


async def test_what_this_process_has_not_read_is_no_silence(world, fake_redis, monkeypatch):
    """Whoever subscribes while it hands out waits for its turn; the link is not given up for that,
    nor where another part of the process asks whether Redis is there.
    """
    monkeypatch.setattr(pubsub, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(link, "PONG_SECONDS", 0.1)
    monkeypatch.setattr(arrivals, "_MOST_MESSAGES", 1)
    may_go_on, handing_out = asyncio.Event(), asyncio.Event()

    async def waits(name, payloads):
        handing_out.set()
        await may_go_on.wait()

    await world.subscriber.subscribe("a")
    world.subscriber._arrivals._deliver = waits
    for payload in (b"1", b"2", b"3"):
        fake_redis.send([b"message", b"a", payload])
    await handing_out.wait()
    world.subscriber._listener.check()
    waiting = asyncio.ensure_future(world.subscriber.subscribe("b"))
    timer = asyncio.get_running_loop().call_later(0.3, may_go_on.set)
    await waiting
    assert timer.when() < asyncio.get_running_loop().time()
    assert (world.told, fake_redis.accepted) == ([], 1)


async def test_what_was_for_those_who_left_is_not_for_those_who_come(world, fake_redis):
    """The last one leaves a channel and the next one joins, while messages wait: some have been
    read, and some are read before the new subscription is confirmed.
    """
    may_go_on = asyncio.Event()

    async def waits(name, payloads):
        await may_go_on.wait()
        await world.deliver(name, payloads)

    for name in "ab":
        await world.subscriber.subscribe(name)
    world.subscriber._arrivals._deliver = waits
    for name, payload in ((b"b", b"1"), (b"a", b"old"), (b"b", b"2")):
        fake_redis.send([b"message", name, payload])
    await until(lambda: len(world.subscriber._arrivals._waiting) == 2)
    fake_redis.answer("SUBSCRIBE", SILENCE)
    world.subscriber.unsubscribe("a")
    joining = asyncio.ensure_future(world.subscriber.subscribe("a"))
    await until(lambda: world.verbs()[-1] == ["SUBSCRIBE", "a"])
    may_go_on.set()
    fake_redis.send([b"message", b"a", b"old, too"])
    fake_redis.send([b"subscribe", b"a", 2])
    await joining
    fake_redis.send([b"message", b"a", b"new"])
    await until(lambda: len(world.delivered) == 3)
    assert world.delivered == [("b", b"1"), ("b", b"2"), ("a", b"new")]


async def test_close_forgets_everything(world, fake_redis):
    """Who waits is told; it may be used again."""
    await world.subscriber.subscribe("a")
    fake_redis.answer("SUBSCRIBE", SILENCE)
    waiting = asyncio.ensure_future(world.subscriber.subscribe("b"))
    await until(lambda: ["SUBSCRIBE", "b"] in fake_redis.commands)
    await world.subscriber.close()
    with pytest.raises(ChannelLayerUnavailable, match="given up"):
        await waiting
    await world.subscriber.close()
    assert world.connection.demotion_listeners == set()
    await world.subscriber.subscribe("c")
    assert world.verbs()[-1] == ["SUBSCRIBE", "c"]


async def test_who_is_cancelled_is_cancelled(world, fake_redis):
    """Also at the moment when the subscription is given up."""
    fake_redis.answer("SUBSCRIBE", SILENCE)
    waiting = asyncio.ensure_future(world.subscriber.subscribe("a"))
    await until(lambda: world.verbs())
    waiting.cancel()
    world.subscriber.unsubscribe("a")
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_commands_of_a_link_that_broke_in_the_same_turn(world, fake_redis):
    """Are the next link's."""
    await world.subscriber.subscribe("a")
    waiting = asyncio.ensure_future(world.subscriber.subscribe("b"))
    await asyncio.sleep(0)  # it is to be written at the end of this turn
    world.subscriber._listener.reconnect()
    await waiting
    assert world.subscriber.is_confirmed


async def test_a_link_that_does_not_answer_a_check_is_left(world, fake_redis, monkeypatch):
    """Another part of the process found Redis gone; one that answers is kept."""
    monkeypatch.setattr(link, "PONG_SECONDS", 0.2)
    await world.subscriber.subscribe("a")
    world.subscriber._listener.check()
    world.subscriber._listener.check()  # one ping
    await until(lambda: "PING" in fake_redis.names())
    await until(lambda: not world.subscriber._listener.link._is_asking)
    assert (fake_redis.accepted, fake_redis.names().count("PING")) == (1, 1)
    fake_redis.answer("PING", SILENCE)
    world.subscriber._listener.check()
    await until(lambda: world.told == ["lost", "back"])
    assert fake_redis.accepted == 2


async def test_a_link_that_is_left_while_a_command_is_written_connects_no_more(world, fake_redis):
    """redis-py connects for a write to a connection that is closed."""
    await world.subscriber.subscribe("a")
    world.subscriber.unsubscribe("a")
    await world.subscriber.close()  # in this turn: the write has not begun
    await world.connection.call(Command(("GET", "a")))
    await world.connection.call(Command(("GET", "a")))
    assert fake_redis.accepted == 2
