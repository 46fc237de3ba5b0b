"""One session after another, and the wait for a token in between."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser

from bazis_ws_channels.connection.gate import Gate
from bazis_ws_channels.connection.inbox import Inbox
from bazis_ws_channels.connection.session import Session
from bazis_ws_channels.exceptions import PresenceUnavailable, SessionRefused
from bazis_ws_channels.parcels import Parcel
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Counts, RevokeBefore
from bazis_ws_channels.presence.tracker import current_tracker
from tests.unit.connection.people import identity


class World:
    """A gate with its line, and what its client was told."""

    def __init__(self, socket, tasks, line, *, starts=True):
        self.socket, self.scope, self.started, self.ended = socket, {}, 0, 0
        started = self.session_started if starts else None
        self.gate = Gate(self.scope, tasks, line, started, self.session_ended)
        self.gate.inbox = Inbox(get_channel_layer(), tasks, self.gate.deliver, self.dispatch)

    async def session_started(self):
        """Count."""
        self.started += 1

    async def session_ended(self):
        """Count."""
        self.ended += 1

    async def dispatch(self, event):
        """Nothing else comes."""

    async def told(self):
        """Return what was sent, once all that is ready has run."""
        for _ in range(30):
            await asyncio.sleep(0)
        return [self._said(event) for event in self.socket.sent]

    def _said(self, event):
        if event["type"] == "websocket.close":
            return event["code"]
        content = json.loads(event["text"])
        return content.get("code", content["type"]) if isinstance(content, dict) else content


@pytest.fixture
async def world(socket, tasks, line):
    """Without a session."""
    world = World(socket, tasks, line)
    await world.gate.inbox.open((), print)
    yield world
    await world.gate.close()


@pytest.fixture
def alice(make_user):
    """A user, and whom she watches."""
    return make_user(1, watches="all")


def counts(*keys):
    """Return presence's connections."""
    return get_store().ask(Counts(keys))


async def test_no_session(world):
    """Everything is quiet."""
    assert not world.gate.is_live
    assert world.gate.names == {}
    world.gate.deliver(Parcel({"type": "ws.push", "group": "common", "text": "1"}))
    world.gate.refresh(is_settled=True)
    await world.gate.watch([2])
    await world.gate.unwatch([2])
    await world.gate.end("logged_out", "x")
    await world.gate.end_by({"group": "user_ws.1"})
    assert await world.told() == ["logged_out"]


async def test_a_session_opens_and_is_renewed(world, alice):
    """`session_started` is awaited once."""
    await world.gate.admit(identity(alice))
    first = world.gate.session
    assert world.gate.is_live
    assert world.gate.names == {"user": 1, "session": first.id}
    await world.gate.admit(identity(alice))
    assert world.gate.session is first
    assert await world.told() == ["subscribed", "subscribed"]
    assert world.started == 1
    assert world.scope["user"] is alice
    assert counts("1") == [1]


async def test_nothing_to_do_at_the_beginning(socket, tasks, line, alice):
    """No task is made for it; the end is told all the same, once."""
    world = World(socket, tasks, line, starts=False)
    await world.gate.inbox.open((), print)
    there = len(tasks._tasks)
    await world.gate.admit(identity(alice))
    assert len(tasks._tasks) == there
    await world.gate.end("logged_out", "x")
    await world.gate.close()
    assert world.ended == 1


async def test_a_beginning_that_failed_has_no_end(world, alice, monkeypatch):
    """Even where the client was told already that the session is live."""
    monkeypatch.setattr(Session, "_enlist", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await world.gate.admit(identity(alice))
    monkeypatch.setattr(Session, "_delist", lambda self: None)
    await world.gate.close()
    assert (world.started, world.ended) == (0, 0)


async def test_another_user_takes_the_place(world, alice, make_user):
    """Whose messages come from now on."""
    await world.gate.admit(identity(alice))
    await world.told()
    await world.gate.admit(identity(make_user(2)))
    assert counts("1", "2") == [0, 1]
    assert world.ended == 1
    world.gate.deliver(Parcel({"type": "ws.push", "group": "user_ws.1", "text": '"late"'}))
    world.gate.deliver(Parcel({"type": "ws.push", "group": "user_ws.2", "text": '"mine"'}))
    assert await world.told() == ["subscribed", "subscribed", "mine"]
    assert world.started == 2


async def test_who_is_refused_does_not_take_the_place(world, alice, make_user):
    """But has left it: who comes with another token is somebody else."""
    await world.gate.admit(identity(alice))
    get_store().ask(RevokeBefore("2", None, 60))
    with pytest.raises(SessionRefused):
        await world.gate.admit(identity(make_user(2), issued_at=1))
    assert not world.gate.is_live
    assert counts("1") == [0]


async def test_who_brings_no_token_in_time_is_closed(world, settings):
    """With its own error."""
    settings.BAZIS_WS_AUTH_TIMEOUT = 0
    world.gate.await_token()
    world.gate.await_token()  # one timer
    async with asyncio.timeout(5):
        while 4401 not in await world.told():
            pass
    assert await world.told() == ["auth_timeout", 4401]
    world.gate.await_token()
    assert world.gate._patience._timer is None  # it is closing


async def test_a_token_stops_the_timer(world, alice):
    """And the end of the session starts it again."""
    world.gate.await_token()
    timer = world.gate._patience._timer
    await world.gate.admit(identity(alice))
    assert timer.cancelled()
    await world.gate.end("logged_out", "x")
    assert isinstance(world.scope["user"], AnonymousUser)
    assert world.gate._patience._timer is not None
    assert await world.told() == ["subscribed", "logged_out"]
    assert counts("1") == [0]


async def test_an_end_that_closes_waits_for_no_token(world, alice):
    """The socket is gone."""
    await world.gate.admit(identity(alice))
    await world.gate.end("too_many_connections", "x", 4429)
    assert world.gate._patience._timer is None
    assert await world.told() == ["subscribed", "too_many_connections", 4429]


async def test_the_server_ends_sessions(world, alice):
    """Those that it means."""
    await world.gate.admit(identity(alice, jti="t"))
    event = {"group": "user_ws.1", "code": "logged_out", "detail": "x"}
    await world.gate.end_by({**event, "jti": "other"})
    assert world.gate.is_live
    await world.gate.end_by(event)
    assert await world.told() == ["subscribed", "logged_out", 4401]


async def test_an_expired_token_ends_its_session(world, alice):
    """The socket waits for a new one."""
    await world.gate.admit(identity(alice, expires_in=-5))
    assert await world.told() == ["subscribed", "expired_token"]
    assert not world.gate.is_live
    assert world.gate._patience._timer is not None


async def test_a_newer_token_on_its_way_in_wins(world, alice):
    """Over the expiry that waits for it."""
    await world.gate.admit(identity(alice))
    session, old = world.gate.session, world.gate.session.identity
    async with world.gate.lock:
        session._expired()
        await asyncio.sleep(0)
        session.identity = identity(alice)
    assert await world.told() == ["subscribed"]
    world.gate._end_soon(object(), old, "expired_token", "x", None)  # a session of before
    assert await world.told() == ["subscribed"]


async def test_watches_are_the_sessions(world, alice):
    """Changes are told; unwatching ends it."""
    await world.gate.admit(identity(alice))
    await world.gate.watch([2])
    change = {"type": "ws.presence", "user": "2", "seq": 10**18, "is_online": True, "last_seen": 1}
    world.gate.deliver(Parcel(change))
    await world.gate.unwatch([2])
    world.gate.deliver(Parcel({**change, "seq": 10**18 + 1, "is_online": False}))
    assert await world.told() == ["subscribed", "presence", "presence"]


async def test_looking_again_survives_a_store_that_is_away(world, alice, monkeypatch):
    """The tracker asks again when it is back."""
    await world.gate.admit(identity(alice))

    async def refresh(may_be_offline):
        raise PresenceUnavailable("away")

    monkeypatch.setattr(world.gate.session.watches, "refresh", refresh)
    noted = []
    monkeypatch.setattr(current_tracker(), "note_failure", noted.append)
    world.gate.refresh(is_settled=True)
    assert await world.told() == ["subscribed"]
    assert [str(error) for error in noted] == ["away"]


async def test_looking_again_after_the_session_has_gone(world, alice):
    """It went while its turn was awaited."""
    await world.gate.admit(identity(alice))
    async with world.gate.lock:
        world.gate.refresh(is_settled=True)
        await asyncio.sleep(0)
        await world.gate._leave()
    assert await world.told() == ["subscribed"]


async def test_close_leaves_nothing(world, alice):
    """No timer, no presence, no group."""
    await world.gate.admit(identity(alice))
    world.gate.await_token()
    await world.gate.close()
    assert world.gate._patience._timer is None
    assert counts("1") == [0]
    assert not any(get_channel_layer().groups.values())


async def test_session_ended_is_not_cut_short(world, alice, caplog):
    """By the client's answer to the close frame, which ends the connection's tasks."""
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def session_ended():
        has_begun.set()
        await may_end.wait()
        world.ended += 1
        raise RuntimeError("of the project")

    world.gate._ended = session_ended
    await world.gate.admit(identity(alice))
    ending = asyncio.create_task(world.gate.end("logged_out", "Logged out", 4401))
    await has_begun.wait()
    ending.cancel()
    await asyncio.sleep(0)
    closing = asyncio.create_task(world.gate.close())
    await asyncio.sleep(0)
    assert world.gate.session is not None
    may_end.set()
    await asyncio.wait({ending, closing}, timeout=5)
    assert (world.ended, world.gate.session) == (1, None)
    assert ending.cancelled()
    assert "of the project" in caplog.text
