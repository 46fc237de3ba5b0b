"""The periodic task: when it works, and what it survives."""

import asyncio

import pytest

from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.keeper import Keeper
from bazis_ws_channels.presence.stores.base import (
    Register,
    Release,
    Renew,
    Restore,
)
from bazis_ws_channels.presence.upkeep import Job
from tests.kit.waiting import until
from tests.unit.presence.parts import Parts


class World(Parts):
    """A keeper with its parts."""

    def __init__(self, clock, store, watcher):
        super().__init__(clock, store, watcher)
        self.keeper = Keeper(self.lease, self.roster, self.announcer, clock)

    async def connect(self, session_id="a", key="1"):
        """Open a session."""
        self.roster.add(session_id, key, self.watcher)
        await self.keeper.start()
        await self.write(session_id, key)

    async def turn(self):
        """Let the task do what is due, and fall asleep again."""
        self.keeper._agenda._wakeup.set()
        await until(lambda: not self.keeper._agenda._wakeup.is_set() or self.task is None)
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def task(self):
        """The task."""
        return self.keeper._task


@pytest.fixture
async def world(clock, store, watcher, settings):
    """A keeper at rest."""
    settings.BAZIS_WS_LEASE_SECONDS, settings.BAZIS_WS_RENEW_SECONDS = 10, 5
    settings.BAZIS_WS_OFFLINE_GRACE_SECONDS = 5
    world = World(clock, store, watcher)
    yield world
    await world.keeper.close()


async def test_it_starts_once(world, store):
    """However many come at the same time."""
    world.roster.add("a", "1", world.watcher)
    await asyncio.gather(*(world.keeper.start() for _ in range(5)))
    assert store.kinds().count(Register) == 1
    assert not world.task.done()


async def test_a_start_that_fails_is_tried_again_by_the_next(world, store):
    """No task without a lease."""
    store.is_away = True
    with pytest.raises(PresenceUnavailable):
        await world.keeper.start()
    assert world.task is None
    store.is_away = False
    await world.connect()
    assert world.lease.name


async def test_it_renews_in_time(world, store, clock):
    """Each period."""
    await world.connect()
    await world.turn()
    for _ in range(4):
        clock.move(5)
        await world.turn()
    assert store.kinds().count(Renew) >= 3
    assert store.ask(Renew(world.lease.name, 1)) is not None


async def test_it_ends_with_the_last_session_and_its_grace(world, store, clock):
    """And leaves nothing."""
    await world.connect()
    world.roster.remove("a")
    await world.keeper.write_departures()
    await world.turn()
    assert not world.task.done()
    task = world.task
    for _ in range(2):  # the grace ends; what was told of it is noted
        clock.move(6)
        await world.turn()
    await asyncio.wait_for(task, 5)
    assert world.task is None
    assert world.lease.name == ""
    assert store.kinds()[-1] is Release
    assert not store._processes._known


async def test_a_session_that_comes_at_the_last_moment_keeps_it(world):
    """Release looks again under the lock."""
    await world.connect()
    assert await world.keeper.release() is False
    assert world.lease.name


async def test_a_lost_lease_is_recovered(world, store, clock, caplog):
    """Under a new name, with all sessions."""
    await world.connect()
    old = world.lease.name
    clock.move(11)
    await world.turn()
    assert world.lease.name != old
    assert "The presence lease was lost" in caplog.text
    assert Restore in store.kinds()
    assert store._sessions.live("1") == 1


async def test_who_finds_the_loss_second_finds_it_mended(world, store, caplog):
    """One recovery, however many notice."""
    await world.connect()
    old = world.lease.name
    await asyncio.gather(*(world.keeper.recover(old) for _ in range(3)))
    assert store.kinds().count(Register) == 2
    assert caplog.text.count("The presence lease was lost") == 1


async def test_a_store_that_is_away_is_asked_at_a_measured_pace(world, store, clock, settings):
    """A fifth of a period between two attempts, whatever is due."""
    settings.BAZIS_WS_RENEW_SECONDS = 0.2
    await world.connect()
    store.is_away = True
    clock.move(100)
    await until(lambda: world.keeper.has_failed)
    store.kinds()
    started_at = asyncio.get_running_loop().time()
    await until(lambda: len(store.asked) >= 5)
    assert asyncio.get_running_loop().time() - started_at > 4 * 0.2 / 5 * 0.9
    store.is_away = False
    await until(lambda: not world.keeper.has_failed)
    await until(lambda: store._sessions.live("1") == 1)


async def test_a_job_that_fails_strangely_is_tried_once_a_period(world, store, clock, caplog):
    """No busy loop, and no end of the task; what was due behind it is done."""
    await world.connect()
    await world.turn()
    calls = []

    class Broken:
        def refresh(self, *, is_settled):
            calls.append(is_settled)
            raise RuntimeError("a bug")

    world.roster.add("b", "2", Broken())
    world.keeper.do_now(Job.REFRESH)
    await world.turn()
    await world.turn()
    assert len(calls) == 1
    assert "The presence task failed; it goes on." in caplog.text
    clock.move(6)
    await world.turn()
    assert len(calls) == 2
    assert not world.task.done()


async def test_what_is_left_of_a_failed_round_is_done_later(world, store):
    """In the order of the jobs."""
    await world.connect()
    await world.turn()
    store.is_away = True
    world.keeper.do_now(Job.CHECK_RECORDS, Job.REFRESH)
    await world.turn()
    assert world.keeper.has_failed
    assert Job.REFRESH in world.keeper._agenda
    assert Job.CHECK_RECORDS in world.keeper._agenda


async def test_release_survives_a_store_that_is_away(world, store):
    """The lease ends by itself then; a peer buries the rest."""
    await world.connect()
    await world.keeper.close()
    world.roster.remove("a")
    await world.roster.write_departures()
    world.keeper.leave_graces()
    store.is_away = True
    assert await world.keeper.release() is True
    assert world.keeper.has_failed
    assert world.lease.name == ""


async def test_close_before_start_is_nothing(world):
    """Nor twice."""
    world.keeper.cancel()
    await world.keeper.close()
    await world.connect()
    await world.keeper.close()
    await world.keeper.close()
    assert world.task.cancelled()


async def test_a_session_that_comes_while_the_lease_is_given_back(world, store, clock):
    """The task goes on with it."""
    await world.connect()
    world.roster.remove("a")
    await world.keeper.write_departures()
    await world.turn()
    async with world.keeper._registering:
        clock.move(6)
        await world.turn()  # offline is told
        await world.turn()  # nothing is left to do
        world.roster.add("b", "2", world.watcher)
    await world.turn()
    assert not world.task.done()
    assert world.lease.name


async def test_starting_again_while_it_works_is_nothing(world, store):
    """One task, one lease."""
    await world.connect()
    task = world.task
    await world.keeper.start()
    assert world.task is task
    assert store.kinds().count(Register) == 1


async def test_the_lease_settles_again_after_a_loss(world, clock):
    """Though another look at who is online is planned for then."""
    await world.connect()
    world.lease.note_break()
    world.keeper.do_now(Job.RENEW, Job.REFRESH)
    await world.turn()
    assert not world.lease.is_settled
    for _ in range(5):
        clock.move(4.9)
        await world.turn()
    assert world.lease.is_settled
