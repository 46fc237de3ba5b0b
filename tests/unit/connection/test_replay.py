"""The streams of one session: where its client is in them, and what it is given."""

import asyncio
import json

import pytest

from bazis_ws_channels.connection.replay import Replay, Resumption
from bazis_ws_channels.counters import counts
from bazis_ws_channels.history.positions import Position
from bazis_ws_channels.layers import InMemoryChannelLayer

MINE, ALL = "user_ws.1", "common"
GROUPS = {"user": MINE, "common": ALL}


class World:
    """A session's streams on a layer in the process, and what its client got."""

    def __init__(self, layer, **options):
        self.layer = layer
        self.written = []
        self.replay = Replay(layer, GROUPS, self.written.append, **options)

    def publish(self, group, value):
        """Record a message; return the event as it would come."""
        event = {"type": "ws.push", "group": group, "text": frame(value)}
        return {**event, "position": self.layer.streams.append(group, event)}

    def lost(self, group, offset=9):
        """Return the event that says that messages of a group were lost."""
        return {"type": "ws.missed", "group": group, "position": (offset, "abcdefgh")}

    def messages(self):
        """Return what was written, and forget it."""
        messages, self.written[:] = [json.loads(text) for text in self.written], []
        return messages

    def values(self):
        """Return the data of what was written."""
        return [message["data"] for message in self.messages()]


def frame(value):
    """Return the frame of a message."""
    return json.dumps({"type": "data", "data": value})


def parsed(position):
    """Return a position as a client sends it."""
    return tuple(Position.parse(position.get(stream)) for stream in GROUPS)


@pytest.fixture
async def layer():
    """A layer that records."""
    return InMemoryChannelLayer()


@pytest.fixture
async def world(layer):
    """A session's streams."""
    return World(layer)


# --- its beginning --------------------------------------------------------------------------


async def test_a_new_client(world):
    """It gets the position from which all that follows counts."""
    began = await world.replay.open(None)
    assert began.position.keys() == GROUPS.keys()
    assert (began.recovered, list(began.frames)) == (None, [])


async def test_a_client_that_comes_back(world, layer):
    """What it missed follows, of both streams, each with its place and marked."""
    since = (await world.replay.open(None)).position
    events = [world.publish(MINE, 1), world.publish(ALL, 2), world.publish(MINE, 3)]
    back = World(layer)
    began = await back.replay.open(parsed(since))
    assert (began.position, began.recovered) == (since, True)
    frames = [json.loads(each) for each in began.frames]
    assert [each["data"] for each in frames] == [1, 3, 2]
    assert all(each["replayed"] is True for each in frames)
    assert frames[1]["position"] == {"user": str(events[2]["position"])}
    assert frames[2]["position"] == {"common": str(events[1]["position"])}


async def test_what_was_replayed_does_not_come_again(world, layer):
    """It may be on its way by pub/sub."""
    since = (await world.replay.open(None)).position
    missed, back = world.publish(MINE, 1), World(layer)
    await back.replay.open(parsed(since))
    back.replay.give(missed)
    back.replay.give(world.publish(MINE, 2))
    assert back.values() == [2]


@pytest.mark.parametrize("wrong", [{}, {"user": "1.abcdefgh"}, {"user": "0.abcdefgh"}])
async def test_a_position_of_nowhere(world, layer, wrong):
    """The client is told, and goes on from the new position."""
    position = (await world.replay.open(None)).position
    back = World(layer)
    assert await back.replay.open(parsed({**position, **wrong} if wrong else {})) == Resumption(
        position, False
    )


async def test_one_stream_that_is_lost_is_enough(world, layer, settings):
    """A part of what was missed is not recovery."""
    settings.BAZIS_WS_HISTORY_MESSAGES = 1
    since = (await world.replay.open(None)).position
    world.publish(MINE, 1)
    for number in (2, 3):
        world.publish(ALL, number)
    began = await World(layer).replay.open(parsed(since))
    assert (began.recovered, list(began.frames)) == (False, [])
    assert began.position != since


async def test_messages_that_cannot_be_decoded(world, layer, caplog):
    """Written under other keys: the client is told, and does not come back with it."""
    since = (await world.replay.open(None)).position
    event = {"type": "ws.push", "group": MINE}  # without a text
    layer.streams.append(MINE, event)
    began = await World(layer).replay.open(parsed(since))
    assert began.recovered is False
    assert began.position != since
    assert "can't be decoded" in caplog.text


async def test_a_layer_that_records_nothing(settings, layer):
    """No positions, and messages go through."""
    for without in (object(), layer):
        settings.BAZIS_WS_HISTORY_SECONDS = 0
        world = World(without)
        assert await world.replay.open((None, None)) == Resumption(None, None)
        assert world.replay.renew((None, None)) == Resumption(None, None)
        world.replay.give({"type": "ws.push", "group": MINE, "text": frame(1)})
        assert world.messages() == [{"type": "data", "data": 1}]
        world.replay.give(world.lost(MINE))
        world.replay.close()
        await asyncio.sleep(0)
        assert world.messages() == []


async def test_a_session_with_one_recorded_stream(layer):
    """The other has no positions; one that names it is of a session of another kind."""
    world = World(layer, recorded={"common"})
    since = (await world.replay.open(None)).position
    assert since.keys() == {"common"}
    world.publish(ALL, 1)
    began = await World(layer, recorded={"common"}).replay.open(parsed(since))
    assert (began.recovered, len(began.frames)) == (True, 1)
    foreign = parsed({**since, "user": "1.abcdefgh"})
    assert (await World(layer, recorded={"common"}).replay.open(foreign)).recovered is False


# --- while it is live -----------------------------------------------------------------------


async def test_messages_get_their_place(world):
    """The frame is made once for all who get the event."""
    await world.replay.open(None)
    event = world.publish(MINE, 1)
    world.replay.give(event)
    [message] = world.messages()
    assert message == {"type": "data", "data": 1, "position": {"user": str(event["position"])}}
    assert json.loads(event["frame"]) == message
    event["frame"] = "made before"
    other = World(world.layer)
    other.replay.places[MINE].move(Position(0, "abcdefgh"))
    other.replay.give(event)
    assert other.written == ["made before"]


async def test_a_message_that_is_not_recorded(world):
    """It has no place, and moves nothing."""
    before = (await world.replay.open(None)).position
    world.replay.give({"type": "ws.push", "group": MINE, "text": frame(1)})
    assert world.messages() == [{"type": "data", "data": 1}]
    assert world.replay.renew(None).position == before


async def test_nothing_comes_twice(world):
    """However often it is delivered."""
    await world.replay.open(None)
    first, second = world.publish(MINE, 1), world.publish(MINE, 2)
    for event in (first, first, second, first, second):
        world.replay.give(event)
    assert world.values() == [1, 2]


async def test_a_hole_that_nobody_has_healed(world):
    """The client is told before it gets what is behind it."""
    await world.replay.open(None)
    world.publish(MINE, 1)
    event = world.publish(MINE, 2)
    world.replay.give(event)
    told, message = world.messages()
    assert told == {"type": "missed", "position": {"user": str(event["position"])}}
    assert message["data"] == 2


async def test_streams_that_broke_together_are_told_together(world):
    """Once, at the end of the event loop's turn."""
    await world.replay.open(None)
    before = counts.missed
    for group in (MINE, ALL):
        world.replay.give(world.lost(group))
    assert world.messages() == []
    await asyncio.sleep(0)
    place = "9.abcdefgh"
    assert world.messages() == [{"type": "missed", "position": {"user": place, "common": place}}]
    assert counts.missed == before + 1
    world.replay.give({**world.publish(MINE, 1), "position": Position(10, "zyxwvuts")})
    assert world.values() == [1]


async def test_nothing_overtakes_the_news(world):
    """What comes in the same turn comes behind it, whichever stream it is of."""
    await world.replay.open(None)
    world.replay.give(world.lost(MINE))
    assert {place.next_offset for place in world.replay.places.values()} == {0}
    world.replay.give(world.publish(ALL, 1))
    assert [message["type"] for message in world.messages()] == ["missed", "data"]
    await asyncio.sleep(0)
    assert world.messages() == []
    assert {place.next_offset for place in world.replay.places.values()} == {10, 2}


async def test_a_session_that_begins_where_others_go_on(world):
    """It has missed nothing: it read the stream after the loss, before the others were told."""
    began = await world.replay.open(None)
    mine = Position.parse(began.position["user"])
    world.replay.give({**world.lost(MINE), "position": mine})
    await asyncio.sleep(0)
    assert world.messages() == []
    world.replay.give(world.lost(ALL))
    world.replay.give({**world.lost(ALL, 10), "position": (10, "ijklmnop")})
    world.replay.give({**world.lost(ALL, 10), "position": (10, "ijklmnop")})
    await asyncio.sleep(0)
    [missed] = world.messages()
    assert missed["position"] == {"common": "10.ijklmnop"}
    world.replay.give(world.publish(MINE, 1))
    assert world.values() == [1]


async def test_a_closed_session_is_told_nothing(world):
    """Not even what was to be told."""
    await world.replay.open(None)
    world.replay.give(world.lost(MINE))
    world.replay.close()
    await asyncio.sleep(0)
    assert world.messages() == []
    world.replay.close()  # again


# --- a new token ----------------------------------------------------------------------------


async def test_a_renewal_comes_behind_what_is_lost(world):
    """Its position is behind it."""
    await world.replay.open(None)
    world.replay.give(world.lost(MINE))
    now = world.replay.renew(None)
    [missed] = world.messages()
    assert missed["type"] == "missed"
    assert now.position["user"] == missed["position"]["user"]
    await asyncio.sleep(0)
    assert world.messages() == []


async def test_a_renewal_misses_nothing(world):
    """Where it is; recovered if what the client names is of this session."""
    began = await world.replay.open(None)
    world.replay.give(world.publish(MINE, 1))
    now = world.replay.renew(None)
    assert now.recovered is None
    assert now.position["user"].startswith("1.")
    assert now.position["common"] == began.position["common"]
    for since, is_own in (
        (began.position, True),
        (now.position, True),
        ({**now.position, "user": "2.abcdefgh"}, False),
        ({"user": now.position["user"]}, False),
    ):
        assert world.replay.renew(parsed(since)) == Resumption(now.position, is_own)
