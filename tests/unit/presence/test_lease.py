"""A process's lease."""

import pytest

from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.lease import Lease
from bazis_ws_channels.presence.stores.base import Register, Release, Renew


@pytest.fixture
def lease(store, clock, settings):
    """A lease good for 10 seconds."""
    settings.BAZIS_WS_LEASE_SECONDS = 10
    return Lease(clock)


async def test_it_is_taken_under_a_new_name_each_time(lease, store):
    """And remembers the one that was lost."""
    assert lease.name == ""
    await lease.take()
    first = lease.name
    assert first
    assert lease.lost_name == ""
    assert store.asked == [Register(first, 10_000)]
    await lease.take()
    assert lease.name != first
    assert lease.lost_name == first
    assert lease.has_peers


async def test_what_can_not_be_taken_leaves_the_old_one(lease, store):
    """Nothing is believed that the store has not said."""
    await lease.take()
    before = lease.name
    store.is_away = True
    with pytest.raises(PresenceUnavailable):
        await lease.take()
    assert (lease.name, lease.lost_name) == (before, "")


async def test_renewing(lease, store, clock):
    """True while it is held, False when it ran out meanwhile."""
    await lease.take()
    clock.move(9)
    assert lease.age_seconds == 9
    assert await lease.renew() is True
    assert lease.age_seconds == 0
    clock.move(11)
    assert await lease.renew() is False
    assert store.kinds() == [Register, Renew, Renew]


async def test_it_settles_after_a_lease_time_without_a_break(lease, clock):
    """Before that, peers may not have had the time to renew theirs."""
    await lease.take()
    assert lease.settles_in_seconds == 10
    for _ in range(2):
        clock.move(5)
        await lease.renew()
    assert lease.is_settled
    clock.move(1)
    lease.note_break()
    await lease.renew()
    assert not lease.is_settled
    assert lease.settles_in_seconds == 10


async def test_a_renewal_that_came_late_is_a_break(lease, clock):
    """The process may have stood still, and so may its peers."""
    await lease.take()
    clock.move(10)
    await lease.renew()
    assert lease.is_settled
    clock.move(10.1)
    await lease.renew()
    assert not lease.is_settled


async def test_a_census_renews_it(lease, clock, store):
    """And hears of peers; unless the process is dead."""
    await lease.take()
    store.ask(Register("peer", 60_000))
    clock.move(5)
    reply = await lease.census(10, own=False)
    assert reply.is_alive
    assert lease.has_peers
    assert lease.age_seconds == 0
    clock.move(11)
    reply = await lease.census(10, own=False)
    assert not reply.is_alive
    assert lease.has_peers  # what was known last


async def test_it_is_given_back_once(lease, store):
    """Also where the store is away: it ends by itself then."""
    await lease.take()
    name = lease.name
    store.kinds()
    await lease.release()
    assert store.asked == [Release(name)]
    await lease.release()
    assert store.asked == [Release(name)]
    await lease.take()
    store.is_away = True
    with pytest.raises(PresenceUnavailable):
        await lease.release()
    assert lease.name == ""
