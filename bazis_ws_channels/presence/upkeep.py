"""The jobs of presence: what is done periodically, and after a failure."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Sequence
from enum import IntEnum

from ..conf import conf
from ..exceptions import PresenceUnavailable
from .agenda import Agenda
from .announcer import Announcer
from .audit import audit
from .census import LeaseLost, take_census
from .lease import Lease
from .roster import Roster
from .stores import get_store
from .stores.base import Connect, Edge, Token

__all__ = ["Job", "Upkeep", "period_seconds"]

logger = logging.getLogger("bazis_ws_channels")

_MISSING = "Presence records are missing in Redis; writing them again."
#: Without peers there is nobody to look after: only what earlier processes left behind.
_LONELY_SECONDS = 60.0


class Job(IntEnum):
    """What there is to do, in the order in which it is done when due together."""

    RENEW = 1
    RESTORE = 2
    AUDIT = 3
    WRITE_DEPARTURES = 4
    CHECK_RECORDS = 5
    CENSUS = 6
    ANNOUNCE_AGAIN = 7
    REFRESH = 8


class Upkeep:
    """Does one job at a time, and enters in the agenda what follows from it.

    Attributes:
        has_failed: whether the store was out of reach at the last attempt.
    """

    def __init__(
        self, lease: Lease, roster: Roster, announcer: Announcer, agenda: Agenda[Job]
    ) -> None:
        self.has_failed = False
        self._replies_lost = False
        self._openings = 0
        self._lease = lease
        self._roster = roster
        self._announcer = announcer
        self._agenda = agenda

    @property
    def is_needed(self) -> bool:
        """Whether there are sessions, departures, graces, or changes to tell."""
        roster, is_telling = self._roster, self._announcer.is_telling
        return bool(roster or roster.has_departures or roster.grace_runs or is_telling)

    def note_failure(self, error: PresenceUnavailable) -> None:
        """Log that the store failed, once; everything is looked at when it is back."""
        if not self.has_failed:
            logger.error(
                "The presence store failed. %s. Connections stay open; presence is written when"
                " it is back.",
                error,
            )
        self.has_failed = self._replies_lost = True

    async def do(self, job: Job) -> None:
        """Do a job.

        Raises:
            LeaseLost: this process counts as dead to the others.
            PresenceUnavailable: the store is out of reach.
        """
        match job:
            case Job.RENEW:
                await self._renew()
            case Job.RESTORE:
                await self.restore()
            case Job.AUDIT:
                await self._audit()
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

    async def take_lease(self) -> None:
        """Take a lease under a new name, and enter what keeps it."""
        if not self._lease.name:
            self._roster.departed.clear()  # of an earlier life: all of them were told
        await self._lease.take()
        self._openings = get_store().openings
        self._agenda.put(Job.RENEW, period_seconds())
        self._agenda.put(Job.CHECK_RECORDS, period_seconds())
        self._agenda.put_now(Job.CENSUS)

    async def restore(self) -> None:
        """Write what may have been lost; where that fails, the task tries again."""
        try:
            self._announcer.tell(await self._roster.restore())
        except BaseException:
            self._agenda.put_now(Job.RESTORE)
            raise
        self._agenda.drop(Job.RESTORE)
        self._agenda.put_now(Job.REFRESH, Job.WRITE_DEPARTURES)

    async def write_departures(self) -> None:
        """Write who has left; what can't be written now is, later."""
        try:
            if await self._roster.write_departures():
                self._take_census_in(conf.BAZIS_WS_OFFLINE_GRACE_SECONDS)
        except PresenceUnavailable as error:
            self.note_failure(error)
            self._agenda.put_now(Job.WRITE_DEPARTURES)

    async def _renew(self) -> None:
        was_away, had_peers = self.has_failed, self._lease.has_peers
        if was_away:
            self._lease.note_break()
        is_held = await self._lease.renew()
        self._agenda.move(Job.RENEW, period_seconds())
        if was_away:
            self.has_failed = False
            self._agenda.put_now(Job.REFRESH, Job.WRITE_DEPARTURES, Job.CENSUS)
            logger.error("The presence store is back.")
        if not is_held:
            raise LeaseLost
        self._note_contact()
        if self._lease.has_peers and not had_peers:
            self._agenda.put_now(Job.CENSUS)

    def _note_contact(self) -> None:
        """Note that the lease is held: the store remembers. Over a new connection it is not certain
        that it remembers everything.
        """
        openings = get_store().openings
        if openings != self._openings:
            self._openings = openings
            self._agenda.put_now(Job.AUDIT)
        elif Job.AUDIT not in self._agenda:
            self._roster.departed.prune()

    async def _audit(self) -> None:
        missing = await audit(self._lease, self._roster)
        self._replies_lost = True  # a change that is told may be back, as this process's
        self._agenda.put_now(Job.WRITE_DEPARTURES, Job.CENSUS)
        if missing:
            logger.warning(_MISSING)
        for session_id, key in missing:
            # As if it began now, which tells the change: the user may have been told offline.
            question = Connect(self._lease.name, session_id, key, sys.maxsize, Token(age_us=0))
            self._announcer.tell((await get_store().aask(question)).edges)
            if session_id not in self._roster:  # it has ended meanwhile
                self._roster.note_ended([(session_id, key)])

    async def _check_records(self) -> None:
        self._agenda.put(Job.CHECK_RECORDS, period_seconds())
        if self._announcer.has_left_over:
            self._agenda.put_now(Job.ANNOUNCE_AGAIN)
        is_intact = await self._roster.is_intact()
        self._note_contact()
        if not is_intact and Job.AUDIT not in self._agenda:
            logger.warning(_MISSING)
            self._agenda.put_now(Job.RESTORE)

    async def _take_census(self) -> None:
        may_bury_lost = not self._roster.must_restore
        own, self._replies_lost = self._replies_lost, False
        graces_begun = self._roster.graces_begun
        grace = await take_census(self._lease, self._tell, own=own, may_bury_lost=may_bury_lost)
        self._note_contact()
        # With peers it comes before each renewal is due, and takes its place.
        self._agenda.move(Job.RENEW, period_seconds())
        next_in = 0.9 * period_seconds() if self._lease.has_peers else _LONELY_SECONDS
        self._agenda.put(Job.CENSUS, next_in)
        if not self._lease.is_settled:
            self._agenda.put(Job.CENSUS, self._lease.settles_in_seconds + 0.05)
        if graces_begun == self._roster.graces_begun:  # else one has begun since Redis answered
            self._roster.grace_runs = grace is not None
        if grace is not None:
            self._take_census_in(grace)

    def _tell(self, edges: Sequence[Edge]) -> None:
        self._roster.departed.note_told(edges)
        self._announcer.tell(edges)

    def _refresh(self) -> None:
        is_settled = self._lease.is_settled
        for watcher in self._roster.watchers:
            watcher.refresh(is_settled=is_settled)
        if not is_settled:
            self._agenda.put(Job.REFRESH, self._lease.settles_in_seconds + 0.1)

    def _take_census_in(self, seconds: float) -> None:
        """Take a census a moment after a grace ends: more may be due by then."""
        self._agenda.put(Job.CENSUS, seconds + random.uniform(0.05, 0.25))


def period_seconds() -> float:
    """Return the time to the next renewal: never longer than the period, which the promises of
    presence are made of.
    """
    return conf.BAZIS_WS_RENEW_SECONDS * random.uniform(0.9, 1.0)
