"""Finding the users of dead processes, and those whose grace is over."""

import pytest

from bazis_ws_channels.presence import census
from bazis_ws_channels.presence.census import LeaseLost, take_census
from bazis_ws_channels.presence.lease import Lease
from bazis_ws_channels.presence.stores.base import Connect, Disconnect, Register, Renew, Token


@pytest.fixture
async def lease(store, clock, settings):
    """A lease that has settled."""
    settings.BAZIS_WS_LEASE_SECONDS = 10
    lease = Lease(clock)
    await lease.take()
    for _ in range(2):
        clock.move(5)
        await lease.renew()
    assert lease.is_settled
    return lease


@pytest.fixture
def told():
    """The edges told."""
    return []


def take(lease, told, *, own=False, may_bury_lost=True):
    """Take a census."""
    return take_census(lease, told.extend, own=own, may_bury_lost=may_bury_lost)


def connect(store, process, connection, key):
    """Write a session."""
    return store.ask(Connect(process, connection, key, 9, Token(age_us=0)))


def names(told):
    """Return what was told, by user."""
    return [(edge.key, edge.is_online) for edge in told]


async def test_nothing_to_do(lease, told):
    """No grace runs."""
    assert await take(lease, told) is None
    assert told == []


async def test_a_grace_that_runs_is_told_when_it_ends(lease, told, store, clock):
    """In rounds, where there are more than a batch."""
    connect(store, lease.name, "a", "1")
    store.ask(Disconnect(lease.name, 5_000_000, 10**12, None, [("a", "1")]))
    assert await take(lease, told) == 5
    assert told == []
    clock.move(5)
    assert await take(lease, told) is None
    # The change to online is not yet noted as told: offline waits behind it.
    assert names(told) == []
    await take(lease, told, own=True)
    assert names(told) == [("1", True)]


async def test_more_than_a_batch(lease, told, store, monkeypatch):
    """The census is taken again until all are told."""
    monkeypatch.setattr(census, "_BATCH", 2)
    keys = list("12345")
    store.ask(Disconnect(lease.name, 0, 10**12, "forgotten", [(f"c{key}", key) for key in keys]))
    await take(lease, told)
    assert sorted(names(told)) == [(key, False) for key in keys]


async def test_the_dead_are_buried(lease, told, store, clock):
    """By a process that had the time to see them renew."""
    store.ask(Register("dead", 1000))
    connect(store, "dead", "a", "1")
    clock.move(2)
    await take(lease, told)
    # What the dead did not tell is told first; then, in its turn, that the user is gone.
    assert names(told) == [("1", True)]
    assert "dead" not in store._processes


async def test_an_unsettled_process_buries_nobody(store, told, clock, settings):
    """Its peers may have been cut off as it was."""
    lease = Lease(clock)
    await lease.take()
    store.ask(Register("dead", 1000))
    clock.move(2)
    await take(lease, told)
    assert "dead" in store._processes


@pytest.mark.parametrize("may", [True, False])
async def test_what_the_process_was_before_is_buried_once_it_is_restored(store, told, clock, may):
    """Its records would be told offline before."""
    lease = Lease(clock)
    await lease.take()
    lost = lease.name
    clock.move(11)
    await lease.take()
    await take(lease, told, may_bury_lost=may)
    assert (lost in store._processes) is not may


async def test_a_process_without_lease_is_told_so(lease, told, clock):
    """It has to recover."""
    clock.move(11)
    with pytest.raises(LeaseLost):
        await take(lease, told)


async def test_peers_that_live_are_left_alone(lease, told, store, clock):
    """However long."""
    store.ask(Register("peer", 60_000))
    connect(store, "peer", "a", "1")
    clock.move(9)
    await take(lease, told)
    assert told == []
    assert store.ask(Renew("peer", 60_000)) is True
