"""How a gap is healed for all sessions of an event loop."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bazis_ws_channels.exceptions import ChannelLayerUnavailable
from bazis_ws_channels.history import healer as module
from bazis_ws_channels.history.follower import Follower, Received
from bazis_ws_channels.history.healer import Healer
from bazis_ws_channels.history.positions import Tail
from bazis_ws_channels.parcels import Parcel
from tests.kit import PATIENCE_SECONDS, until
from tests.unit.history.streams import at, entry, tail

AWAY = RedisConnectionError("away")


class Reader:
    """Redis, as a healer reads it: what the test says the streams are.

    Attributes:
        streams: the end of each, or the error instead.
        asked: what was asked for.
        may_answer: an event.
    """

    def __init__(self):
        self.streams = {}
        self.asked = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answers(self, channels, since):
        """Return what there is."""
        self.asked.append(dict(zip(channels, since, strict=True)))
        answers = [self.streams[channel] for channel in channels]
        await self.may_answer.wait()
        return answers

    async def read(self, channels, since):
        """Return the ends, or raise."""
        answers = await self.answers(channels, since)
        for answer in answers:
            if not isinstance(answer, Tail):
                raise ChannelLayerUnavailable("away") from answer
        return answers


class World:
    """A healer, and what its sessions are given and told."""

    def __init__(self):
        self.given, self.breaks, self.order = [], [], []
        self.healer = Healer(lambda channel: None, self.decode, self.hand_out, self.tell_break)
        self.reader = self.healer._reader = Reader()

    def decode(self, data):
        """Return the event of a message."""
        if data == b"\xc1666":
            raise ValueError("not an event")
        return {"type": "ws.push", "text": data[1:].decode()}

    async def hand_out(self, channel, parcel):
        """Take messages."""
        self.given += [(channel, event["text"]) for event in parcel.events]

    def tell_break(self, channel, position):
        """Take the news."""
        self.breaks.append((channel, position))
        self.given.append((channel, "break"))

    async def begin(self, *channels, top=5):
        """Open a session on streams that end at `top`."""
        self.reader.streams.update(dict.fromkeys(channels, tail(top)))
        self.healer.follow(channels)
        return await self.healer.open(channels, [None] * len(channels))

    async def deliver(self, message, channel="c", kind="ws.push"):
        """Let a message come by pub/sub. Tell whether it was handed out at once."""
        text = f"{message.position.offset}" if message else "unrecorded"
        event = {"type": kind, "text": text}
        data = message.data if message else b"x"
        follower = self.healer.followers[channel]
        if not self.healer.admits(follower, Received(message, event, data)):
            return False
        await self.healer.hand_out(channel, follower, Parcel(event, data))
        return True

    async def healed(self):
        """Wait until nothing is being healed."""
        await until(lambda: self.healer._task is None or self.healer._task.done())

    def texts(self, channel="c"):
        """Return what was given on a channel."""
        return [text for each, text in self.given if each == channel]


@pytest.fixture
async def world(monkeypatch):
    """A healer that doesn't wait long for a Redis that is away."""
    monkeypatch.setattr(module, "_LONGEST_SECONDS", 0.01)
    world = World()
    yield world
    world.reader.may_answer.set()
    await world.healer.close()


async def test_a_session_that_begins_while_the_ends_are_read(world):
    """What came between the two readings is read once more: it is not lost."""
    world.reader.streams["c"] = tail(5)
    world.healer.follow(["c"])
    world.reader.may_answer.clear()
    opening = asyncio.create_task(world.healer.open(["c"], [None]))
    await until(lambda: len(world.reader.asked) == 1)
    world.reader.streams["c"] = tail(7)
    world.healer.heal()
    await until(lambda: len(world.reader.asked) == 2)
    world.reader.streams["c"] = tail(7, kept=2)
    world.reader.may_answer.set()
    await opening
    await world.healed()
    assert [asked["c"] for asked in world.reader.asked] == [None, None, at(5)]
    assert world.given == [("c", "6"), ("c", "7")]


@pytest.mark.parametrize(
    ("came", "top", "breaks"),
    [
        (entry(7), tail(6), []),  # published after the reading
        (entry(7), tail(7), []),  # before it
        (entry(7), tail(5, history="b"), [("c", at(5, "b"))]),
        (entry(7), tail(6, history="b"), [("c", at(6, "b"))]),
    ],
)
async def test_what_comes_while_the_first_session_reads(world, came, top, breaks):
    """It may be of a history that Redis has lost by then: the session begins in the new one."""
    world.reader.streams["c"] = top
    world.healer.follow(["c"])
    world.reader.may_answer.clear()
    opening = asyncio.create_task(world.healer.open(["c"], [None]))
    await until(lambda: world.reader.asked)
    assert await world.deliver(came)
    world.reader.may_answer.set()
    assert await opening == [top]
    await world.healed()
    assert world.breaks == breaks


async def test_what_is_whole_is_handed_out(world):
    """Redis is asked once, when the session opens."""
    await world.begin("c")
    for number in (6, 7):
        assert await world.deliver(entry(number))
    assert world.texts() == ["6", "7"]
    assert len(world.reader.asked) == 1
    assert world.healer._task is None


async def test_what_is_not_recorded_has_no_place(world):
    """It is handed out at once."""
    await world.begin("c")
    assert await world.deliver(None)
    assert await world.deliver(entry(6))
    assert world.texts() == ["unrecorded", "6"]


async def test_a_gap_is_healed_in_order_and_once(world):
    """What was missed, then what came meanwhile."""
    await world.begin("c")
    world.reader.may_answer.clear()
    world.reader.streams["c"] = tail(8, kept=3)
    for number in (8, 9):
        assert not await world.deliver(entry(number))
    assert not await world.deliver(None)
    assert world.texts() == []
    world.reader.may_answer.set()
    await world.healed()
    assert world.texts() == ["6", "7", "8", "8", "9", "unrecorded"]  # sessions pass over the second
    assert world.breaks == []
    assert world.reader.asked[-1] == {"c": at(5)}
    assert await world.deliver(entry(10))


async def test_the_end_of_a_session_waits_for_nothing(world):
    """Events of the package that are no messages are handed out while a gap is healed."""
    await world.begin("c")
    world.reader.may_answer.clear()
    await world.deliver(entry(8))
    assert await world.deliver(None, kind="ws.end")
    assert not await world.deliver(None, kind="order.shipped")
    assert world.texts() == ["unrecorded"]


async def test_what_is_kept_no_more_is_told(world):
    """On all streams, before anything else is handed out."""
    await world.begin("c", "d")
    world.reader.streams = {"c": tail(8, kept=3), "d": tail(99, kept=3)}
    world.healer.heal()
    await world.healed()
    assert world.breaks == [("d", at(99))]
    assert world.given == [("d", "break"), ("c", "6"), ("c", "7"), ("c", "8")]


async def test_a_break_is_told_behind_what_is_being_handed_out(world):
    """Else those whose turn is still to come would go on in the history that is lost."""
    await world.begin("c")
    may_go_on = asyncio.Event()

    async def slowly(channel, parcel):
        await may_go_on.wait()
        await world.hand_out(channel, parcel)

    world.healer._hand_out = slowly
    delivering = asyncio.ensure_future(world.deliver(entry(6)))
    await asyncio.sleep(0)
    world.reader.streams["c"] = tail(3, history="b")
    world.healer.heal()
    await until(lambda: len(world.reader.asked) == 2)
    assert world.breaks == []
    may_go_on.set()
    await delivering
    await world.healed()
    assert world.texts() == ["6", "break"]


async def test_subscriptions_that_are_lost_again_meanwhile_are_looked_at_again(world):
    """What was read is of before: Redis has lost its memory since."""
    await world.begin("c")
    world.reader.may_answer.clear()
    world.healer.heal()
    await until(lambda: len(world.reader.asked) == 2)
    world.reader.streams["c"] = tail(3, history="b")
    world.healer.heal()
    world.reader.may_answer.set()
    await world.healed()
    assert world.breaks == [("c", at(3, "b"))]
    assert await world.deliver(entry(4, "b"))
    assert world.texts() == ["break", "4"]


async def test_what_was_held_for_those_who_left_is_not_for_those_who_come(world):
    """It would come behind what they have been given since."""
    await world.begin("c")
    world.reader.may_answer.clear()
    world.reader.streams["c"] = tail(8, history="b")
    assert not await world.deliver(entry(8))
    assert not await world.deliver(None)
    await until(lambda: len(world.reader.asked) == 2)
    world.healer.unfollow(["c"])
    world.healer.follow(["c"])
    assert await world.deliver(entry(9))
    world.reader.may_answer.set()
    await world.healed()
    assert world.given == [("c", "9")]


async def test_a_message_of_a_lost_history_is_dropped(world):
    """The stream that was read after it says nothing of it."""
    await world.begin("c")
    world.reader.streams["c"] = tail(6, kept=1)
    await world.deliver(entry(7, "b"))
    await world.healed()
    assert world.texts() == ["6"]
    assert await world.deliver(entry(7))


async def test_a_message_that_came_after_the_question_is_asked_about_again(world):
    """The answer can't know of it."""
    await world.begin("c")
    world.reader.may_answer.clear()
    world.healer.heal()
    await until(lambda: len(world.reader.asked) == 2)
    await world.deliver(entry(7))
    world.reader.streams["c"] = tail(7, kept=2)
    world.reader.may_answer.set()
    await world.healed()
    assert len(world.reader.asked) == 3
    assert world.texts() == ["6", "7", "7"]


async def test_redis_is_away_for_a_while(world, caplog):
    """It is asked again and again; messages are held meanwhile."""
    await world.begin("c")
    world.reader.streams["c"] = AWAY
    await world.deliver(entry(7))
    await until(lambda: len(world.reader.asked) > 4)
    assert world.texts() == []
    assert caplog.text.count("Redis is out of reach") == 1
    world.reader.streams["c"] = tail(7, kept=2)
    await world.healed()
    assert world.texts() == ["6", "7", "7"]


async def test_one_shard_is_away(world):
    """The streams of the others are healed at once."""
    await world.begin("c", "d")
    world.reader.streams = {"c": AWAY, "d": tail(6, kept=1)}
    world.healer.heal()
    await until(lambda: world.texts("d") == ["6"])
    assert await world.deliver(entry(7), "d")
    assert world.texts("c") == []
    world.reader.streams["c"] = tail(6, kept=1)
    await world.healed()
    assert world.texts("c") == ["6"]


async def test_healing_that_fails_goes_on(world, caplog):
    """A bug ends nothing."""
    await world.begin("c")
    del world.reader.streams["c"]
    world.healer.heal()
    await until(lambda: "it goes on" in caplog.text)
    world.reader.streams["c"] = tail(6, kept=1)
    await world.healed()
    assert world.texts() == ["6"]


async def test_a_message_that_cannot_be_decoded_is_dropped(world, caplog):
    """It holds up no others."""
    await world.begin("c", top=665)
    world.reader.streams["c"] = tail(667, kept=2)
    world.healer.heal()
    await world.healed()
    assert world.texts() == ["667"]
    assert "can't be decoded" in caplog.text


async def test_only_so_many_are_held(world, monkeypatch):
    """The rest is read again, or told."""
    monkeypatch.setattr(module, "_MOST_HELD", 2)
    await world.begin("c")
    world.reader.may_answer.clear()
    world.healer.heal()
    await until(lambda: len(world.reader.asked) == 2)
    for number in (6, 7, 8, 9):
        assert not await world.deliver(entry(number))
    assert len(world.healer.followers["c"].held) == 2
    world.reader.may_answer.set()
    await world.healed()
    assert world.texts() == ["6", "7"]
    world.reader.streams["c"] = tail(10, kept=3)
    assert not await world.deliver(entry(10))
    await world.healed()
    assert world.texts() == ["6", "7", "8", "9", "10", "10"]


# --- sessions -------------------------------------------------------------------------------


async def test_a_stream_is_followed_as_long_as_a_session_does(world):
    """Closing once more does no harm."""
    await world.begin("c")
    await world.begin("c", "d")
    world.healer.unfollow(["c"])
    assert world.healer.followers.keys() == {"c", "d"}
    world.healer.unfollow(["c", "d"])
    assert not world.healer.followers
    world.healer.unfollow(["c", "d"])
    world.healer.heal()
    assert world.healer._task is None  # nobody wants to know


async def test_a_session_opens_after_the_gap_is_healed(world, monkeypatch):
    """It then knows as much as the others."""
    monkeypatch.setattr(module, "_LONGEST_SECONDS", PATIENCE_SECONDS)
    await world.begin("c")
    world.reader.may_answer.clear()
    world.healer.heal()
    world.reader.streams["c"] = tail(7, kept=2)
    opening = asyncio.create_task(world.begin("c", top=7))
    await until(lambda: len(world.reader.asked) == 2)
    world.reader.may_answer.set()
    assert [each.top for each in await opening] == [at(7)]
    assert world.texts() == ["6", "7"]


async def test_a_session_that_finds_another_history_tells_the_others_first(world):
    """Then it begins in the new one."""
    await world.begin("c")
    tails = await world.begin("c", top=2)
    assert tails[0].top == at(2)
    assert world.breaks == [("c", at(2))]
    assert world.healer.followers["c"].last == at(2)


async def test_a_stream_that_is_another_one_each_time(world):
    """It is given up, not tried for ever."""
    await world.begin("c")

    async def read(channels, since):
        world.healer.followers["c"].last = at(5)
        return [tail(2)]

    world.reader.read = read
    world.reader.streams["c"] = tail(5)
    world.healer.follow(["c"])
    with pytest.raises(ChannelLayerUnavailable, match="change faster"):
        await world.healer.open(["c"], [None])


async def test_opening_while_redis_is_away(world):
    """The error is the caller's."""
    world.reader.streams["c"] = AWAY
    world.healer.follow(["c"])
    with pytest.raises(ChannelLayerUnavailable):
        await world.healer.open(["c"], [None])


async def test_the_end(world):
    """Nothing goes on."""
    await world.begin("c")
    world.reader.streams["c"] = AWAY
    world.healer.heal()
    await until(lambda: len(world.reader.asked) > 2)
    await world.healer.close()
    asked = len(world.reader.asked)
    assert world.healer._task.done()
    await asyncio.sleep(0)
    assert len(world.reader.asked) == asked
    assert not world.healer.followers


async def test_many_streams_leave_others_their_turns(world, monkeypatch):
    """However many break at once."""
    monkeypatch.setattr(module, "_STREAMS_A_TURN", 2)
    channels = [f"c{n}" for n in range(10)]
    await world.begin(*channels)
    world.reader.streams = dict.fromkeys(channels, tail(6, kept=1))
    turns = []

    async def watch():
        while len(world.given) < 10:
            turns.append(len(world.given))
            await asyncio.sleep(0)

    world.healer.heal()
    await watch()
    assert len(set(turns)) >= 5
    await world.healed()
    assert [text for _, text in world.given] == ["6"] * 10


async def test_messages_wait_for_those_before_them(world):
    """A consumer that takes its time gets them in order."""
    await world.begin("c")
    follower = world.healer.followers["c"]
    assert isinstance(follower, Follower)
    async with follower.lock:
        waiting = asyncio.create_task(world.deliver(entry(6)))
        await asyncio.sleep(0)
        assert world.given == []
    assert await waiting == 1
    assert follower.last == at(6)
