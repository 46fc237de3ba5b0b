"""The periodic task of presence: keeps the lease, and looks after records and peers."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from enum import IntEnum

from ..conf import conf
from ..exceptions import PresenceUnavailable
from .agenda import Agenda
from .announcer import Announcer
from .census import LeaseLost, take_census
from .lease import Lease
from .roster import Roster

__all__ = ["Job", "Keeper"]

logger = logging.getLogger("bazis_ws_channels")

#: Without peers there is nobody to look after: only what earlier processes left behind.
_LONELY_SECONDS = 60.0


class Job(IntEnum):
    """What there is to do, in the order in which it is done when due together."""

    RENEW = 1
    RESTORE = 2
    WRITE_DEPARTURES = 3
    CHECK_RECORDS = 4
    CENSUS = 5
    ANNOUNCE_AGAIN = 6
    REFRESH = 7


class Keeper:
    """Works while there are sessions, departures, or changes to tell; then gives the lease back.

    Attributes:
        has_failed: whether the store was out of reach at the last attempt.
    """

    def __init__(
        self,
        lease: Lease,
        roster: Roster,
        announcer: Announcer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.has_failed = False
        self._lease = lease
        self._roster = roster
        self._announcer = announcer
        self._clock = clock
        self._agenda: Agenda[Job] = Agenda()
        self._task: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._registering = asyncio.Lock()
        self._replies_lost = False

    # --- the lease --------------------------------------------------------------------------

    async def start(self) -> None:
        """Take a lease, if there is none, and go to work.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        async with self._registering:
            if not self._lease.name:
                await self._take_lease()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())

    async def recover(self, lost: str) -> None:
        """Write everything again, as a new process: the old one, `lost`, is dead to the others.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        async with self._registering:
            if self._lease.name != lost:
                return
            await self._take_lease()
            self._roster.lost()
            self.do_now(Job.RESTORE)
        logger.warning("The presence lease was lost; writing the sessions again.")
        await self._restore()

    def cancel(self) -> None:
        """Stop working."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Stop working, and wait for the end of it."""
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def release(self) -> bool:
        """Leave no trace of a process without sessions; False if one came meanwhile."""
        async with self._registering:
            if self._is_busy():
                return False
            self._task = None
            try:
                await self._lease.release()
            except PresenceUnavailable as error:
                self.note_failure(error)  # the lease ends by itself; a peer buries the rest
            return True

    async def _take_lease(self) -> None:
        await self._lease.take()
        self._put(Job.RENEW, _period())
        self._put(Job.CHECK_RECORDS, _period())
        self.do_now(Job.CENSUS)

    async def _renew(self) -> None:
        name, was_away, had_peers = self._lease.name, self.has_failed, self._lease.has_peers
        after_break = was_away or Job.REFRESH in self._agenda
        is_held = await self._lease.renew(after_break=after_break)
        self._agenda.move(Job.RENEW, self._clock() + _period())
        if was_away:
            self.has_failed = False
            self.do_now(Job.REFRESH, Job.WRITE_DEPARTURES, Job.CENSUS)
            logger.error("The presence store is back.")
        if not is_held:
            return await self.recover(name)
        if self._lease.has_peers and not had_peers:
            self.do_now(Job.CENSUS)

    # --- the task ---------------------------------------------------------------------------

    def do_now(self, *jobs: Job) -> None:
        """Do these jobs as soon as possible."""
        for job in jobs:
            self._put(job, 0)
        self._wakeup.set()

    def note_failure(self, error: PresenceUnavailable) -> None:
        """Log that the store failed, once; everything is looked at when it is back."""
        if not self.has_failed:
            logger.error(
                "The presence store failed. %s. Connections stay open; presence is written when"
                " it is back.",
                error,
            )
        self.has_failed = self._replies_lost = True

    async def write_departures(self) -> None:
        """Write who has left; what can't be written now is, later."""
        try:
            if await self._roster.write_departures():
                self._take_census_in(conf.BAZIS_WS_OFFLINE_GRACE_SECONDS)
        except PresenceUnavailable as error:
            self.note_failure(error)
            self.do_now(Job.WRITE_DEPARTURES)

    def leave_graces(self) -> None:
        """Leave the end of graces to a peer, or to the next process."""
        self._roster.grace_runs = False

    async def _run(self) -> None:
        while True:
            while self._is_busy():
                await self._sleep()
                try:
                    await self._do_what_is_due()
                except PresenceUnavailable as error:
                    self.note_failure(error)
                except Exception:
                    logger.exception("The presence task failed; it goes on.")
                    self._put(Job.CENSUS, _period())
            if await self.release():
                return

    def _is_busy(self) -> bool:
        is_telling = self._announcer.is_telling
        return bool(
            self._roster or self._roster.has_departures or self._roster.grace_runs or is_telling
        )

    async def _sleep(self) -> None:
        seconds = self._agenda.next_at - self._clock()
        if self.has_failed:
            # The lease goes on running out; whatever is due waits as long.
            seconds = _period() / 5
            self._wakeup.clear()
        try:
            async with asyncio.timeout(max(0.0, min(seconds, conf.BAZIS_WS_RENEW_SECONDS))):
                await self._wakeup.wait()
        except TimeoutError:
            pass
        self._wakeup.clear()

    async def _do_what_is_due(self) -> None:
        if self.has_failed:
            await self._renew()
        due = self._agenda.take(self._clock())
        for number, job in enumerate(due):
            try:
                await self._do(job)
            except BaseException:
                for left in due[number:]:
                    self._agenda.put(left, self._clock())
                raise

    async def _do(self, job: Job) -> None:
        match job:
            case Job.RENEW:
                await self._renew()
            case Job.RESTORE:
                await self._restore()
            case Job.WRITE_DEPARTURES:
                await self.write_departures()
            case Job.CHECK_RECORDS:
                await self._check_records()
            case Job.CENSUS:
                await self._take_census()
            case Job.ANNOUNCE_AGAIN:
                await self._announcer.retry()
            case Job.REFRESH:
                self._refresh()

    async def _restore(self) -> None:
        """Write what may have been lost; where that fails, the task tries again."""
        try:
            self._announcer.tell(await self._roster.restore())
        except BaseException:
            self.do_now(Job.RESTORE)
            raise
        self._agenda.drop(Job.RESTORE)
        self.do_now(Job.REFRESH, Job.WRITE_DEPARTURES)

    async def _check_records(self) -> None:
        self._put(Job.CHECK_RECORDS, _period())
        if self._announcer.has_left_over:
            self.do_now(Job.ANNOUNCE_AGAIN)
        if not await self._roster.is_intact():
            logger.warning("Presence records are missing in Redis; writing them again.")
            self.do_now(Job.RESTORE)

    async def _take_census(self) -> None:
        name, may_bury_lost = self._lease.name, not self._roster.must_restore
        own, self._replies_lost = self._replies_lost, False
        graces_begun = self._roster.graces_begun
        tell = self._announcer.tell
        try:
            grace = await take_census(self._lease, tell, own=own, may_bury_lost=may_bury_lost)
        except LeaseLost:
            return await self.recover(name)
        # With peers it comes before each renewal is due, and takes its place.
        self._agenda.move(Job.RENEW, self._clock() + _period())
        self._put(Job.CENSUS, 0.9 * _period() if self._lease.has_peers else _LONELY_SECONDS)
        if not self._lease.is_settled:
            self._put(Job.CENSUS, self._lease.settles_in_seconds + 0.05)
        if graces_begun == self._roster.graces_begun:  # else one has begun since Redis answered
            self._roster.grace_runs = grace is not None
        if grace is not None:
            self._take_census_in(grace)

    def _refresh(self) -> None:
        is_settled = self._lease.is_settled
        for watcher in self._roster.watchers:
            watcher.refresh(is_settled=is_settled)
        if not is_settled:
            self._put(Job.REFRESH, self._lease.settles_in_seconds + 0.1)

    def _take_census_in(self, seconds: float) -> None:
        """Take a census a moment after a grace ends: more may be due by then."""
        self._put(Job.CENSUS, seconds + random.uniform(0.05, 0.25))

    def _put(self, job: Job, in_seconds: float) -> None:
        if self._agenda.put(job, self._clock() + in_seconds):
            self._wakeup.set()


def _period() -> float:
    # Never longer than the period, which the promises of presence are made of.
    return conf.BAZIS_WS_RENEW_SECONDS * random.uniform(0.9, 1.0)
