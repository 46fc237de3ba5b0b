"""The jobs of presence, each with what follows from it."""

import pytest

from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.agenda import Agenda
from bazis_ws_channels.presence.census import LeaseLost
from bazis_ws_channels.presence.stores.base import (
    Census,
    Connect,
    Edge,
    Register,
    Restore,
)
from bazis_ws_channels.presence.upkeep import Job, Upkeep, period_seconds
from tests.unit.presence.parts import Parts


class World(Parts):
    """An upkeep with its parts, and a session a of user 1."""

    def __init__(self, clock, store, watcher):
        super().__init__(clock, store, watcher)
        self.agenda = Agenda(clock)
        self.upkeep = Upkeep(self.lease, self.roster, self.announcer, self.agenda)

    async def connect(self):
        """Write the session."""
        self.roster.add("a", "1", self.watcher)
        await self.write("a", "1")

    def due(self):
        """Return the jobs that are due now, in order."""
        return self.agenda.take()


@pytest.fixture
async def world(clock, store, watcher, settings):
    """With its lease taken."""
    settings.BAZIS_WS_LEASE_SECONDS, settings.BAZIS_WS_RENEW_SECONDS = 10, 5
    settings.BAZIS_WS_OFFLINE_GRACE_SECONDS = 5
    world = World(clock, store, watcher)
    await world.upkeep.take_lease()
    return world


def test_the_period_is_never_longer_than_promised(settings):
    """A little shorter, so that a fleet does not march in step."""
    settings.BAZIS_WS_RENEW_SECONDS = 5
    assert all(4.5 <= period_seconds() <= 5 for _ in range(100))


async def test_a_lease_that_is_taken_is_kept(world):
    """A census at once; renewal and a look at the records within a period."""
    assert world.due() == [Job.CENSUS]
    world.clock.move(5)
    assert world.due() == [Job.RENEW, Job.CHECK_RECORDS]


async def test_it_is_needed_while_anything_is_to_be_done(world):
    """Sessions, departures, graces."""
    assert not world.upkeep.is_needed
    await world.connect()
    assert world.upkeep.is_needed
    world.roster.remove("a")
    assert world.upkeep.is_needed
    await world.upkeep.do(Job.WRITE_DEPARTURES)
    assert world.roster.grace_runs
    assert world.upkeep.is_needed
    world.roster.grace_runs = False
    assert not world.upkeep.is_needed


async def test_it_is_needed_while_changes_are_told(world):
    """Their noting needs the lease."""
    world.announcer.tell([Edge("1", 1, True, 0, 0)])
    assert world.upkeep.is_needed
    await world.announcer.drain()
    assert not world.upkeep.is_needed


async def test_a_renewal_comes_again(world):
    """Within a period."""
    world.due()
    await world.upkeep.do(Job.RENEW)
    assert 4.5 <= world.agenda.next_in_seconds <= 5


async def test_a_first_peer_is_looked_at_at_once(world):
    """From then on the census takes the place of the renewal."""
    world.due()
    await world.upkeep.do(Job.RENEW)
    assert Job.CENSUS not in world.agenda
    world.store.ask(Register("peer", 60_000))
    await world.upkeep.do(Job.RENEW)
    assert world.due() == [Job.CENSUS]
    await world.upkeep.do(Job.CENSUS)
    assert world.agenda.next_in_seconds <= 4.5


async def test_a_lost_lease_is_told(world):
    """By a renewal, and by a census."""
    world.clock.move(11)
    for job in (Job.RENEW, Job.CENSUS):
        with pytest.raises(LeaseLost):
            await world.upkeep.do(job)


async def test_a_store_that_is_back_is_looked_at_as_a_whole(world, caplog):
    """Logged once when it fails, once when it is back."""
    world.due()
    for _ in range(2):
        world.upkeep.note_failure(PresenceUnavailable("away"))
    assert world.upkeep.has_failed
    await world.upkeep.do(Job.RENEW)
    assert not world.upkeep.has_failed
    assert world.due() == [Job.WRITE_DEPARTURES, Job.CENSUS, Job.REFRESH]
    assert [record.getMessage()[:25] for record in caplog.records] == [
        "The presence store failed", "The presence store is bac",
    ]  # fmt: skip
    assert not world.lease.is_settled


async def test_after_a_failure_own_changes_are_looked_for_once(world):
    """Their replies may have been lost."""
    world.store.kinds()
    world.upkeep.note_failure(PresenceUnavailable("away"))
    await world.upkeep.do(Job.CENSUS)
    await world.upkeep.do(Job.CENSUS)
    assert [question.own for question in world.store.asked] == [True, False]


async def test_a_census_without_peers_is_rare(world):
    """Once the lease has settled: only what earlier processes left behind."""
    world.due()
    await world.upkeep.do(Job.CENSUS)
    for _ in range(2):
        world.clock.move(6)
        await world.upkeep.do(Job.RENEW)
    world.due()
    await world.upkeep.do(Job.CENSUS)
    world.agenda.drop(Job.RENEW)
    world.agenda.drop(Job.CHECK_RECORDS)
    assert world.agenda.next_in_seconds == 60


async def test_a_grace_brings_a_census_when_it_ends(world):
    """A moment after that: more may be due by then."""
    await world.connect()
    world.roster.remove("a")
    world.due()
    world.agenda.drop(Job.RENEW)
    world.agenda.drop(Job.CHECK_RECORDS)
    await world.upkeep.do(Job.WRITE_DEPARTURES)
    assert 5.05 <= world.agenda.next_in_seconds <= 5.25
    world.clock.move(2)
    await world.upkeep.do(Job.CENSUS)
    assert world.roster.grace_runs
    world.clock.move(3.3)
    await world.upkeep.do(Job.CENSUS)
    assert not world.roster.grace_runs


async def test_a_grace_that_begins_during_a_census_is_not_forgotten(world):
    """The census has not seen it."""
    await world.connect()

    def leave():
        world.roster.grace_runs, world.roster.graces_begun = True, 1

    world.store.meanwhile[Census] = leave
    await world.upkeep.do(Job.CENSUS)
    assert world.roster.grace_runs


async def test_departures_that_cannot_be_written_are_later(world):
    """Nobody who leaves waits for Redis, or fails for it."""
    await world.connect()
    world.roster.remove("a")
    world.store.is_away = True
    world.due()
    await world.upkeep.write_departures()
    assert world.due() == [Job.WRITE_DEPARTURES]
    assert world.upkeep.has_failed


async def test_missing_records_are_written_again(world, caplog):
    """As after a loss, but under the same lease."""
    await world.connect()
    world.due()
    await world.upkeep.do(Job.CHECK_RECORDS)
    assert world.due() == []
    del world.store._processes._known[world.lease.name]
    await world.upkeep.do(Job.CHECK_RECORDS)
    assert "records are missing" in caplog.text
    assert world.due() == [Job.RESTORE]


async def test_over_a_new_connection_the_store_may_have_gone_back(world):
    """The records are compared, once, by whatever hears of it first."""
    world.due()
    for job in (Job.RENEW, Job.CENSUS):
        world.store.openings += 1
        await world.upkeep.do(job)
        assert Job.AUDIT in world.agenda
        world.agenda.drop(Job.AUDIT)
        await world.upkeep.do(job)
        assert Job.AUDIT not in world.agenda


def lose(world):
    """Let the store know nothing of the session a."""
    store = world.store
    del store._processes[world.lease.name].records["a"]
    store._sessions.remove("1", "a")
    store._sessions.online.discard("1")
    store.kinds()


async def test_a_session_that_ends_while_it_is_written_again(world):
    """It is taken off again."""
    await world.connect()
    lose(world)
    world.store.meanwhile[Connect] = lambda: world.roster.remove("a")
    await world.upkeep.do(Job.AUDIT)
    assert world.roster.has_departures
    await world.upkeep.do(Job.WRITE_DEPARTURES)
    assert world.store._sessions.live("1") == 0


async def test_records_that_are_missing_over_a_new_connection_are_left_to_the_audit(world):
    """It tells the change, too."""
    await world.connect()
    world.due()
    del world.store._processes._known[world.lease.name]
    world.store.openings += 1
    await world.upkeep.do(Job.CHECK_RECORDS)
    assert world.due() == [Job.AUDIT]


async def test_what_an_audit_finds_is_written(world, caplog):
    """Sessions that are missing, and the end of those that are there in vain; and changes that had
    been told are looked for.
    """
    await world.connect()
    world.due()
    await world.upkeep.do(Job.AUDIT)
    assert world.due() == [Job.WRITE_DEPARTURES, Job.CENSUS]
    assert "records are missing" not in caplog.text
    lose(world)
    await world.upkeep.do(Job.AUDIT)
    assert world.due() == [Job.WRITE_DEPARTURES, Job.CENSUS]
    assert "records are missing" in caplog.text
    assert world.store._sessions.live("1") == 1
    await world.announcer.drain()
    assert [question.edges[0][0] for question in world.store.asked[-1:]] == ["1"]
    world.store.asked.clear()
    await world.upkeep.do(Job.CENSUS)
    assert [question.own for question in world.store.asked] == [True]


async def test_who_left_is_remembered_for_the_grace(world):
    """And as long as nobody knows whether the store remembers."""
    await world.connect()
    world.roster.remove("a")
    await world.upkeep.do(Job.WRITE_DEPARTURES)
    world.clock.move(5)
    await world.upkeep.do(Job.RENEW)
    assert world.roster.departed.latest().keys() == {"1"}
    world.store.openings += 1
    world.clock.move(5)
    await world.upkeep.do(Job.RENEW)
    assert world.roster.departed.latest().keys() == {"1"}
    world.agenda.drop(Job.AUDIT)
    await world.upkeep.do(Job.RENEW)
    assert world.roster.departed.latest() == {}


async def test_a_process_that_had_ended_begins_anew(world):
    """Whoever left it before was told offline."""
    await world.connect()
    world.roster.remove("a")
    await world.upkeep.do(Job.WRITE_DEPARTURES)
    await world.lease.release()
    await world.upkeep.take_lease()
    assert world.roster.departed.latest() == {}


async def test_restoring_is_tried_until_it_works(world):
    """Then those who watch look again, and departures are written."""
    await world.connect()
    world.due()
    world.store.fails[Restore] = PresenceUnavailable("away")
    with pytest.raises(PresenceUnavailable):
        await world.upkeep.do(Job.RESTORE)
    assert Job.RESTORE in world.agenda
    await world.upkeep.do(Job.RESTORE)
    assert world.due() == [Job.WRITE_DEPARTURES, Job.REFRESH]


async def test_watchers_look_again_until_things_have_settled(world):
    """Who seems offline before may only be on its way back."""
    await world.connect()
    world.due()
    await world.upkeep.do(Job.REFRESH)
    assert world.watcher.looked == [False]
    assert Job.REFRESH in world.agenda
    world.agenda.drop(Job.REFRESH)
    world.clock.move(10)
    await world.upkeep.do(Job.REFRESH)
    assert world.watcher.looked == [False, True]
    assert Job.REFRESH not in world.agenda


async def test_changes_left_over_are_announced_again(world, settings):
    """With the look at the records."""
    world.due()

    async def unavailable(edges):
        raise PresenceUnavailable("away")

    world.announcer._confirm = unavailable
    await world.connect()
    assert world.upkeep.is_needed
    await world.upkeep.do(Job.CHECK_RECORDS)
    assert world.due() == [Job.ANNOUNCE_AGAIN]
    world.announcer._confirm = world.confirm
    await world.upkeep.do(Job.ANNOUNCE_AGAIN)
    assert not world.announcer.has_left_over
