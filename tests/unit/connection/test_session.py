"""An authenticated stretch of a connection."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer

from bazis_ws_channels.connection.session import Session
from bazis_ws_channels.exceptions import SessionRefused
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Counts, RevokeBefore
from tests.unit.connection.people import identity


def push(group, text):
    """Return a message to a group."""
    return {"type": "ws.push", "group": group, "text": text}


class World:
    """A session and its client."""

    def __init__(self, who):
        self.written, self.expired = [], []
        self.layer = get_channel_layer()
        end = lambda *args: self.expired.append(args)  # noqa: E731
        self.session = Session(
            who, self, self.layer, "specific.c", self.written.append, asyncio.Lock(), end
        )

    def refresh(self, *, is_settled):
        """Look again."""

    def told(self):
        """Return what was written."""
        return [json.loads(frame) for frame in self.written]

    def connections(self):
        """Return how many connections presence counts."""
        return get_store().ask(Counts([self.session.identity.key]))[0]


@pytest.fixture
def make(make_user):
    """Make a session: ``make(expires_in=60)``."""

    def make(pk=1, **options):
        return World(identity(make_user(pk), **options))

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
    session.deliver(push("user_ws.1", '"1"'))
    session.deliver(push("user_ws.2", '"not mine"'))
    session.deliver(push("common", '"2"'))
    await session.open(None)
    session.deliver(push("user_ws.1", '"3"'))
    assert world.told()[1:] == ["1", "2", "3"]


async def test_a_refused_session_shows_nothing(make):
    """To somebody who isn't let in."""
    get_store().ask(RevokeBefore("1", None, 60))
    world = make(issued_at=1)
    world.session.deliver(push("common", '"secret"'))
    with pytest.raises(SessionRefused):
        await world.session.open(None)
    assert world.written == []
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
