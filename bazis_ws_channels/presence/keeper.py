"""The periodic task of presence: renew the lease, check records, find dead peers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ..conf import conf
from ..exceptions import PresenceUnavailable
from .agenda import Agenda
from .announcer import Announcer
from .census import LeaseLost
from .lease import Lease
from .roster import Roster
from .upkeep import Job, Upkeep, period_seconds

__all__ = ["Keeper"]

logger = logging.getLogger("bazis_ws_channels")


class Keeper:
    """Runs while there are sessions, departures or changes to tell, then releases the lease.

    What is done is `Upkeep`'s; when, and by whom, is decided here.
    """

    def __init__(
        self,
        lease: Lease,
        roster: Roster,
        announcer: Announcer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease = lease
        self._roster = roster
        self._agenda: Agenda[Job] = Agenda(clock)
        self._upkeep = Upkeep(lease, roster, announcer, self._agenda)
        self._task: asyncio.Task[None] | None = None
        self._registering = asyncio.Lock()

    @property
    def has_failed(self) -> bool:
        """Whether the store was out of reach at the last attempt."""
        return self._upkeep.has_failed

    # --- the lease --------------------------------------------------------------------------

    async def start(self) -> None:
        """Take a lease if there is none, and start the task.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        async with self._registering:
            if not self._lease.name:
                await self._upkeep.take_lease()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())

    async def recover(self, lost: str) -> None:
        """Take a lease under a new name and write all sessions again, and who has just left: peers
        count `lost` as dead, and the store may have lost everything.

        New sessions wait for it in `start`, or users of whom it knew nothing yet would be told
        online once more.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        async with self._registering:
            if self._lease.name != lost:
                return
            await self._upkeep.take_lease()
            self._roster.lost()
            self.do_now(Job.RESTORE, Job.AUDIT)
            logger.warning("The presence lease was lost; writing the sessions again.")
            for job in (Job.RESTORE, Job.AUDIT, Job.WRITE_DEPARTURES):
                await self._upkeep.do(job)

    async def release(self) -> bool:
        """Release the lease of a process without sessions. Return False if one opened meanwhile."""
        async with self._registering:
            if self._upkeep.is_needed:
                return False
            self._task = None
            try:
                await self._lease.release()
            except PresenceUnavailable as error:
                self.note_failure(error)  # the lease runs out by itself, and a peer buries the rest
            return True

    # --- what others ask of it --------------------------------------------------------------

    def do_now(self, *jobs: Job) -> None:
        """Make these jobs due now."""
        self._agenda.put_now(*jobs)

    def note_failure(self, error: PresenceUnavailable) -> None:
        """Log a failure of the store, once. Everything is checked when it is back."""
        self._upkeep.note_failure(error)

    async def write_departures(self) -> None:
        """Write departures. Those that can't be written now are written later."""
        await self._upkeep.write_departures()

    def leave_graces(self) -> None:
        """Leave graces that still run to a peer or to the next process."""
        self._roster.grace_runs = False

    def cancel(self) -> None:
        """Cancel the task."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Cancel the task and wait until it has ended."""
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the task ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            while self._upkeep.is_needed:
                await self._wait()
                try:
                    await self._do_what_is_due()
                except PresenceUnavailable as error:
                    self.note_failure(error)
                except Exception:
                    logger.exception("The presence task failed; it goes on.")
            if await self.release():
                return

    async def _wait(self) -> None:
        if self.has_failed:
            # The lease keeps running out, so try often; other jobs wait meanwhile.
            await self._agenda.pause(period_seconds() / 5)
        else:
            await self._agenda.wait(conf.BAZIS_WS_RENEW_SECONDS)

    async def _do_what_is_due(self) -> None:
        if self.has_failed:
            await self._do(Job.RENEW)
        due = self._agenda.take()
        for number, job in enumerate(due):
            try:
                await self._do(job)
            except BaseException as error:
                is_strange = not isinstance(error, PresenceUnavailable)
                # A job that fails for a reason of its own fails again: try it once a period.
                self._agenda.put(job, period_seconds() if is_strange else 0)
                for left in due[number + 1 :]:
                    self._agenda.put(left, 0)
                raise

    async def _do(self, job: Job) -> None:
        name = self._lease.name
        try:
            await self._upkeep.do(job)
        except LeaseLost:
            await self.recover(name)
