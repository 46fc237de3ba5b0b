"""A loop's sessions in the presence store."""

import asyncio
import contextlib

import pytest

from bazis_ws_channels.exceptions import PresenceUnavailable, SessionRefused
from bazis_ws_channels.presence.stores.base import (
    Census,
    Connect,
    Connected,
    Register,
    Release,
    RevokeBefore,
    Token,
)
from bazis_ws_channels.presence.tracker import Tracker, current_tracker
from bazis_ws_channels.signals import user_online
from tests.kit.waiting import until

FRESH = Token(age_us=0)


@pytest.fixture
async def tracker(store, clock):
    """A tracker at rest."""
    tracker = Tracker(clock)
    yield tracker
    await tracker.close()


class Line:
    """A connection."""

    def __init__(self, error=None):
        self.error = error
        self.went_down = self.is_gone = False

    async def go_down(self):
        """Close."""
        self.went_down = self.is_gone = True
        if self.error is not None:
            raise self.error


async def test_a_session_is_written_once(tracker, store, watcher):
    """And again at each renewal of its token, for revocations."""
    await tracker.connect("a", "1", watcher, FRESH)
    await tracker.connect("a", "1", watcher, FRESH)
    assert store._sessions.live("1") == 1
    await tracker.disconnect("a")
    assert store._sessions.live("1") == 0
    store.kinds()
    await tracker.disconnect("a")
    assert store.kinds() == []


async def test_who_is_refused_leaves_no_trace(tracker, store, watcher, settings):
    """Too many, or revoked."""
    settings.BAZIS_WS_MAX_CONNECTIONS = 1
    await tracker.connect("a", "1", watcher, FRESH)
    with pytest.raises(SessionRefused, match="At most 1 connections") as caught:
        await tracker.connect("b", "1", watcher, FRESH)
    assert caught.value.code == "too_many_connections"
    store.ask(RevokeBefore("2", None, 60))
    with pytest.raises(SessionRefused, match="revoked") as caught:
        await tracker.connect("c", "2", watcher, Token(issued_us=1))
    assert caught.value.code == "invalid_token"
    assert len(tracker._roster) == 1
    assert not tracker._roster.has_departures


async def test_a_renewal_that_is_refused_leaves_the_session(tracker, store, watcher):
    """Its owner ends it."""
    await tracker.connect("a", "1", watcher, FRESH)
    store.ask(RevokeBefore("1", None, 60))
    with pytest.raises(SessionRefused):
        await tracker.connect("a", "1", watcher, Token(issued_us=1))
    assert store._sessions.live("1") == 1


async def test_a_lost_lease_is_found_by_who_connects(tracker, store, watcher, clock):
    """All sessions are written under the new one."""
    await tracker.connect("a", "1", watcher, FRESH)
    clock.move(1000)
    await tracker.connect("b", "2", watcher, FRESH)
    assert store._sessions.live("1") == store._sessions.live("2") == 1


async def test_a_lease_that_is_lost_while_a_change_is_told(tracker, store, watcher, clock):
    """The change is noted under the name that it belongs to, or it would be told again."""
    told, may_go_on, ask = [], asyncio.Event(), store.ask

    async def receive(user_id, **kwargs):
        told.append(user_id)
        await may_go_on.wait()

    def ask_without_census(question):
        if isinstance(question, Census):  # which would give the change to the new name
            raise PresenceUnavailable("away")
        return ask(question)

    user_online.connect(receive)
    try:
        await tracker.connect("a", "1", watcher, FRESH)
        await until(lambda: told)
        store.ask = ask_without_census
        clock.move(1000)
        await tracker.connect("b", "2", watcher, FRESH)
        may_go_on.set()
        await tracker._announcer.drain()
        assert told == [1, 2]
        assert ask(Census(tracker.lease.name, 1000, 9, own=True)).edges == []
    finally:
        user_online.disconnect(receive)


async def test_a_store_that_always_forgets_is_unavailable(tracker, store, watcher, monkeypatch):
    """Two tries are enough."""
    ask = store.ask

    def forgetful(question):
        if isinstance(question, Connect):
            return Connected("lost", [])
        return ask(question)

    monkeypatch.setattr(store, "ask", forgetful)
    with pytest.raises(PresenceUnavailable, match="again and again"):
        await tracker.connect("a", "1", watcher, FRESH)


async def test_a_store_that_is_away_refuses_and_remembers(tracker, store, watcher):
    """The session may have been written: it is taken off later."""
    await tracker.connect("a", "1", watcher, FRESH)
    store.is_away = True
    with pytest.raises(PresenceUnavailable):
        await tracker.connect("b", "2", watcher, FRESH)
    await tracker.disconnect("a")
    assert tracker._roster.has_departures
    with contextlib.suppress(PresenceUnavailable):
        tracker.note_failure(PresenceUnavailable("away"))
    store.is_away = False
    await tracker.stop()
    assert store._sessions.live("1") == 0


async def test_stop_closes_all_and_leaves_graces_to_others(tracker, store, watcher):
    """Whatever one connection does."""
    await tracker.connect("a", "1", watcher, FRESH)
    lines = [Line(), Line(RuntimeError("stuck"))]
    tracker.lines.update(lines)
    await tracker.stop()
    assert [line.went_down for line in lines] == [True, True]
    assert store._sessions.live("1") == 0
    assert list(store._sessions.leaving) == ["1"]
    assert store.kinds()[-1] is Release


async def test_missed_messages_are_looked_for(tracker, store, watcher):
    """By everybody who watches."""
    await tracker.connect("a", "1", watcher, FRESH)
    tracker.messages_missed()
    while not watcher.looked:
        await asyncio.sleep(0)
    assert watcher.looked[0] is False


async def test_the_loop_has_one(store):
    """Made at first use."""
    assert current_tracker() is current_tracker()
    assert Register not in store.kinds()
