"""Sessions and departures, and how the store hears of them."""

import asyncio

import pytest

from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence import roster as roster_module
from bazis_ws_channels.presence.lease import Lease
from bazis_ws_channels.presence.roster import Roster
from bazis_ws_channels.presence.stores.base import (
    Bury,
    Connect,
    Disconnect,
    Intact,
    Register,
    Restore,
    Token,
    Told,
)


@pytest.fixture
async def lease(store, clock):
    """A lease that is held."""
    lease = Lease(clock)
    await lease.take()
    return lease


def tell(store, process, edges):
    """Note that changes were told."""
    store.ask(Told(process, [(edge.key, edge.seq) for edge in edges]))


@pytest.fixture
async def roster(lease, watcher, store):
    """A roster with the sessions a (user 1) and b (user 2), written."""
    roster = Roster(lease)
    for session_id, key in (("a", "1"), ("b", "2")):
        assert roster.add(session_id, key, watcher)
        reply = store.ask(Connect(lease.name, session_id, key, 9, Token(age_us=0)))
        tell(store, lease.name, reply.edges)
        roster.was_written(session_id)
    store.kinds()
    return roster


async def test_a_session_stands_in_it_once(roster, watcher):
    """Entering it again renews it."""
    assert not roster.add("a", "1", watcher)
    assert len(roster) == 2
    assert "a" in roster
    assert roster.watchers == [watcher, watcher]
    roster.was_written("never")


async def test_who_leaves_is_written_once(roster, store):
    """A grace runs, and is counted."""
    assert roster.remove("a")
    assert not roster.remove("a")
    assert roster.has_departures
    assert await roster.write_departures() is True
    assert (roster.grace_runs, roster.graces_begun) == (True, 1)
    assert not roster.has_departures
    [question] = store.asked
    assert question.records == [("a", "1")]
    assert question.lost is None
    assert await roster.write_departures() is False
    assert store.kinds() == [Disconnect]


async def test_who_leaves_at_the_same_time_is_written_together(roster, store):
    """Several callers share one call."""

    async def leave(session_id):
        roster.remove(session_id)
        return await roster.write_departures()

    assert await asyncio.gather(leave("a"), leave("b")) == [True, True]
    assert store.kinds() == [Disconnect]


async def test_a_caller_that_is_cancelled_stops_nobody_else(roster, store):
    """The writing goes on."""
    roster.remove("a")
    first = asyncio.ensure_future(roster.write_departures())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(roster.write_departures())
    first.cancel()
    assert await second is True


async def test_departures_go_in_batches(roster, store, watcher, monkeypatch):
    """Each call of Redis is short."""
    monkeypatch.setattr(roster_module, "_BATCH", 2)
    for n in range(3):
        roster.add(f"c{n}", f"{n}", watcher)
    roster.remove_all()
    assert len(roster) == 0
    await roster.write_departures()
    assert [len(question.records) for question in store.asked] == [2, 2, 1]


async def test_what_could_not_be_written_is_kept(roster, store):
    """Until the store is back."""
    roster.remove("a")
    store.is_away = True
    with pytest.raises(PresenceUnavailable):
        await roster.write_departures()
    assert roster.has_departures
    assert not roster.grace_runs
    store.is_away = False
    assert await roster.write_departures() is True


async def test_departures_under_a_lost_lease_say_so(roster, lease, store, settings):
    """Nobody else can tell of them; and they wait for the sessions that are restored."""
    settings.BAZIS_WS_OFFLINE_GRACE_SECONDS, settings.BAZIS_WS_LEASE_SECONDS = 5, 10
    old = lease.name
    roster.remove("a")  # before the loss is known
    await lease.take()
    roster.lost()
    roster.remove("b")  # after it
    store.kinds()
    await roster.write_departures()
    [question] = store.asked
    assert question.lost == old
    assert question.grace_us == 15_000_000
    assert [key for _, key in question.records] == ["1", "2"]


async def test_lost_and_other_departures_go_apart(roster, lease, store, watcher):
    """A session that the store never heard of can't be lost."""
    await lease.take()
    roster.lost()
    roster.add("c", "3", watcher)
    for session_id in "abc":
        roster.remove(session_id)
    store.kinds()
    await roster.write_departures()
    lost = {question.lost is not None: question.records for question in store.asked}
    assert lost == {True: [("a", "1"), ("b", "2")], False: [("c", "3")]}


async def test_restoring_writes_what_was_written(roster, lease, store, watcher):
    """And tells who was told offline meanwhile."""
    roster.add("new", "3", watcher)  # its own Connect is on its way
    old = lease.name
    store.ask(Register("peer", 10**9))
    store._clock.move(11)
    tell(store, "peer", store.ask(Bury("peer", old, [("a", "1")])))
    await lease.take()
    roster.lost()
    store.kinds()
    edges = await roster.restore()
    assert [(edge.key, edge.is_online) for edge in edges] == [("1", True)]
    assert not roster.must_restore
    [question] = store.asked
    assert question == Restore(lease.name, old, [("a", "1"), ("b", "2")])


async def test_who_leaves_while_restoring_is_taken_off_again(roster, lease, store):
    """The restoring wrote it after its departure had been."""
    await lease.take()
    roster.lost()
    store.meanwhile[Restore] = lambda: roster.remove("a")
    await roster.restore()
    assert roster.has_departures
    store.kinds()
    await roster.write_departures()
    [question] = store.asked
    assert question.records == [("a", "1")]
    assert question.lost is None


async def test_who_left_before_a_batch_is_not_restored(roster, lease, store, monkeypatch):
    """Its departure is written already, or will be."""
    monkeypatch.setattr(roster_module, "_BATCH", 1)
    await lease.take()
    roster.lost()
    store.meanwhile[Restore] = lambda: roster.remove("b")
    store.kinds()
    await roster.restore()
    assert [question.records for question in store.asked] == [[("a", "1")], []]


async def test_what_is_missing_under_a_lease_that_is_held_was_not_buried(roster, lease, store):
    """Even if this process was once: nobody is told online again."""
    await lease.take()
    roster.lost()
    await roster.restore()
    store.kinds()
    await roster.restore()
    assert [question.lost for question in store.asked] == [""]


async def test_sessions_that_only_the_store_believes_in_have_ended(roster, lease, store):
    """They are taken off; those that are open stay."""
    store.ask(Connect(lease.name, "ghost", "3", 9, Token(age_us=0)))
    store.kinds()
    roster.note_ended([("a", "1"), ("ghost", "3")])
    assert await roster.write_departures() is True
    [question] = store.asked
    assert (question.records, question.lost) == ([("ghost", "3")], None)
    assert roster.departed.latest() == {}


async def test_departures_that_the_store_forgot_are_written_again(roster, store):
    """As those of the process that held them, which nobody has buried."""
    roster.note_forgotten("before", [("gone", "3")])
    store.kinds()
    assert await roster.write_departures() is True
    [question] = store.asked
    assert (question.records, question.lost) == ([("gone", "3")], "before")
    assert store._sessions.leaving.keys() == {"3"}


async def test_records_are_looked_at_by_turns(roster, store, monkeypatch):
    """A batch at each call."""
    monkeypatch.setattr(roster_module, "_BATCH", 1)
    assert [await roster.is_intact() for _ in range(3)] == [True] * 3
    assert [question.keys for question in store.asked] == [["1"], ["2"], ["1"]]


async def test_missing_records_are_noticed(roster, store, lease):
    """Unless they are missing because their sessions left."""
    store._processes.remove(lease.name)
    assert await roster.is_intact() is False
    store.meanwhile[Intact] = lambda: roster.remove("a")
    assert await roster.is_intact() is True


async def test_nobody_is_intact(store, lease, watcher):
    """And costs no question; so do sessions not yet written."""
    roster = Roster(lease)
    roster.add("a", "1", watcher)
    store.kinds()
    assert await roster.is_intact() is True
    assert store.asked == []
