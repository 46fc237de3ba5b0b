"""An authenticated stretch of a connection."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer

from bazis_ws_channels.connection.session import Session
from bazis_ws_channels.counters import counts
from bazis_ws_channels.exceptions import SessionRefused
from bazis_ws_channels.history.positions import Position
from bazis_ws_channels.layers import InMemoryChannelLayer
from bazis_ws_channels.parcels import Parcel
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Counts, RevokeBefore
from tests.unit.connection.people import identity


def push(group, text):
    """Return a message to a group."""
    return {"type": "ws.push", "group": group, "text": text}


class Line:
    """Frames to the client."""

    def __init__(self):
        self.frames, self.writes = [], 0

    def push(self, frame):
        """Send one."""
        self.frames.append(frame)
        self.writes += 1

    def push_all(self, frames):
        """Send some together."""
        self.frames += frames.texts
        self.writes += 1


class World:
    """A session and its client."""

    def __init__(self, who, layer=None):
        self.line, self.expired = Line(), []
        self.layer = layer or get_channel_layer()
        end = lambda *args: self.expired.append(args)  # noqa: E731
        self.session = Session(who, self, self.layer, "specific.c", self.line, asyncio.Lock(), end)

    def refresh(self, *, is_settled):
        """Look again."""

    def told(self):
        """Return what was written."""
        return [json.loads(frame) for frame in self.line.frames]

    def connections(self):
        """Return how many connections presence counts."""
        return get_store().ask(Counts([self.session.identity.key]))[0]


@pytest.fixture
def make(make_user):
    """Make a session: ``make(expires_in=60)``."""

    def make(pk=1, layer=None, **options):
        return World(identity(make_user(pk), **options), layer)

    return make


async def test_its_life(make):
    """Groups, presence, what the client is told; then nothing of it."""
    world = make()
    session = world.session
    assert session.user.pk == session.pk == 1
    await session.open(None)
    assert session.is_live
    [told] = world.told()
    assert (told["type"], told["user"]) == ("subscribed", 1)
    assert told["expires_in"] in (58, 59, 60)
    assert set(world.layer.groups) == {"user_ws.1", "common"}
    assert world.connections() == 1
    await session.close()
    assert not session.is_live
    assert not any(world.layer.groups.values())
    assert world.connections() == 0


async def test_what_comes_before_it_is_live_waits(make):
    """In order, behind `subscribed`; that of other groups is dropped."""
    world = make()
    session = world.session
    session.deliver(Parcel(push("user_ws.1", '"1"')))
    session.deliver(Parcel(push("user_ws.2", '"not mine"')))
    session.deliver(Parcel(push("common", '"2"')))
    await session.open(None)
    session.deliver(Parcel(push("user_ws.1", '"3"')))
    assert world.told()[1:] == ["1", "2", "3"]


@pytest.mark.parametrize("is_told", [True, False])
async def test_what_comes_before_it_is_live_and_is_of_a_lost_history_is_dropped(make, is_told):
    """The session begins in the new one, whose numbers are smaller, and goes on there. The loss may
    be told, or nobody followed the streams yet.
    """
    world = make(layer=InMemoryChannelLayer())
    session = world.session
    old = {**push("common", '{"n":"old"}'), "position": Position(50, "12345678")}
    session.deliver(Parcel(old))
    session.deliver(Parcel({**old, "group": "user_ws.1"}))
    session.deliver(Parcel(push("common", '{"n":"has no number"}')))
    for group in ("user_ws.1", "common") if is_told else ():
        missed = {"type": "ws.missed", "group": group, "position": Position(0, "87654321")}
        session.deliver(Parcel(missed))
    await session.open(None)
    session.deliver(Parcel(*recorded(session, 1)))
    assert [each.get("n") or each["type"] for each in world.told()] == [
        "subscribed", "has no number", 1,
    ]  # fmt: skip
    await session.close()


def parcel(*messages):
    """Return messages that came together."""
    parcel = Parcel(messages[0], b"")
    for message in messages[1:]:
        parcel.add(message, b"")
    return parcel


def recorded(session, *numbers):
    """Return messages to everybody, so far behind what the session has."""
    top = session._replay.places["common"].last.offset
    at = [Position(top + number, "12345678") for number in numbers]
    return [{**push("common", f'{{"n":{each.offset}}}'), "position": each} for each in at]


async def test_what_comes_together_goes_together(make):
    """To each session that gets it."""
    worlds = [make(pk) for pk in (1, 2)]
    for world in worlds:
        await world.session.open(None)
    both = parcel(push("common", "1"), push("common", "2"))
    before = counts.delivered
    for world in worlds:
        world.session.deliver(both)
        assert world.told()[1:] == [1, 2]
    assert [world.line.writes for world in worlds] == [2, 2]
    assert counts.delivered == before + 4
    for world in worlds:
        await world.session.close()


async def test_recorded_ones_go_together_to_those_who_have_what_is_before(make):
    """The others get what they lack of them, and are told what they missed."""
    layer = InMemoryChannelLayer()
    first, second, ahead, _ = worlds = [make(pk, layer) for pk in (1, 2, 3, 4)]
    for world in worlds:
        await world.session.open(None)
    one, two = recorded(first.session, 1, 2)
    both, third = parcel(one, two), parcel(*recorded(first.session, 3))
    ahead.session.deliver(Parcel(one))
    for world in (first, second, ahead):
        world.session.deliver(both)
    for world in worlds:
        world.session.deliver(third)
    numbers = [[each.get("n") or each["type"] for each in world.told()[1:]] for world in worlds]
    top = one["position"].offset
    assert numbers[:3] == [[top, top + 1, top + 2]] * 3
    assert numbers[3] == ["missed", top + 2]
    assert [world.line.writes for world in worlds] == [3, 3, 4, 3]
    for world in worlds:
        await world.session.close()


async def test_a_refused_session_shows_nothing(make):
    """To somebody who isn't let in."""
    get_store().ask(RevokeBefore("1", None, 60))
    world = make(issued_at=1)
    world.session.deliver(Parcel(push("common", '"secret"')))
    with pytest.raises(SessionRefused):
        await world.session.open(None)
    assert world.line.frames == []
    await world.session.close()
    assert not any(world.layer.groups.values())


async def test_renewing_goes_on(make):
    """With the new token's time; its timer replaces the old one."""
    world = make(expires_in=60)
    await world.session.open(None)
    first = world.session._expiry._timer
    newer = identity(world.session.user, expires_in=600)
    await world.session.renew(newer, None)
    assert first.cancelled()
    assert world.session.identity is newer
    assert world.told()[1]["expires_in"] > 500
    assert world.connections() == 1
    await world.session.renew(identity(world.session.user, django_session=True), None)
    assert world.told()[2]["expires_in"] is None
    await world.session.close()


async def test_a_renewal_by_a_revoked_token_changes_nothing(make):
    """Whoever asked decides what to do."""
    world = make()
    await world.session.open(None)
    before = world.session.identity
    get_store().ask(RevokeBefore("1", None, 60))
    with pytest.raises(SessionRefused):
        await world.session.renew(identity(world.session.user, issued_at=1), None)
    assert world.session.identity is before
    await world.session.close()


async def test_it_expires_with_its_token(make):
    """At once, where its time passed while it was being opened."""
    world = make(expires_in=-5)
    await world.session.open(None)
    assert world.told()[0]["expires_in"] == 0
    while not world.expired:
        await asyncio.sleep(0)
    assert [args[:3] for args in world.expired] == [
        (world.session, world.session.identity, "expired_token")
    ]
    await world.session.close()


ENDINGS = [
    ({}, True, True),
    ({"jti": "t"}, True, False),
    ({"jti": "other"}, False, False),
    ({"before": 10_000_001}, True, False),
    ({"before": 10_000_000}, False, False),
]


@pytest.mark.parametrize(("which", "by_token", "by_django"), ENDINGS, ids=lambda value: f"{value}")
async def test_which_sessions_an_ending_means(make, which, by_token, by_django):
    """All, those of one token, those of older tokens; a Django session has none."""
    event = {"group": "user_ws.1", **which}
    assert make(issued_at=10, jti="t").session.is_ended_by(event) is by_token
    assert make(django_session=True).session.is_ended_by(event) is by_django
    assert make(pk=2).session.is_ended_by(event) is False
