"""Presence of one event loop: writes its sessions, and looks after them and its peers'.

A tracker lives as long as its loop has sessions. What it costs does not depend on how many: two
plain commands a period (``BAZIS_WS_RENEW_SECONDS``) renew the lease and look whether the records
are still there; a session is written when it opens and when it closes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol

from ..conf import conf
from ..exceptions import PresenceUnavailable, SessionRefused
from ..loops import LoopLocal
from ..servers import on_server_stop
from .agenda import Agenda
from .announcer import Announcer
from .census import LeaseLost, take_census
from .lease import Lease
from .roster import Roster, Watcher
from .stores import get_store
from .stores.base import Connect, Connected, Edge, Token, Told

__all__ = ["Line", "Tracker", "current_tracker"]

logger = logging.getLogger("bazis_ws_channels")

#: Without peers there is nobody to look after: only what earlier processes left behind.
_LONELY_SECONDS = 60.0


class _Job(IntEnum):
    """What a tracker has to do, in the order in which it is done when due together."""

    RENEW = 1
    RESTORE = 2
    WRITE_DEPARTURES = 3
    CHECK_RECORDS = 4
    CENSUS = 5
    ANNOUNCE_AGAIN = 6
    REFRESH = 7


class Line(Protocol):
    """An open connection."""

    async def go_down(self) -> None:
        """Close with 4503, for the server stops, and return when the client is gone."""


class Tracker:
    """Keeps one event loop's sessions in the presence store.

    Attributes:
        lines: all open connections of this loop, with a session or without.
        lease: the lease under which the sessions are written.
        has_failed: whether the store was out of reach at the last attempt.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lines: set[Line] = set()
        self.lease = Lease(clock)
        self.has_failed = False
        self._roster = Roster(self.lease)
        self._announcer = Announcer(self._confirm)
        self._agenda: Agenda[_Job] = Agenda()
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._registering = asyncio.Lock()
        self._grace_runs = False
        self._replies_lost = False
        on_server_stop(self.stop)

    # --- sessions ---------------------------------------------------------------------------

    async def connect(self, session_id: str, key: str, watcher: Watcher, token: Token) -> None:
        """Write that a session of the user with this key is open; the same again renews it.

        Raises:
            SessionRefused: ``too_many_connections``, or ``invalid_token`` for a revoked one.
            PresenceUnavailable: the store is out of reach.
        """
        is_new = self._roster.add(session_id, key, watcher)
        try:
            reply = await self._connect(session_id, key, token)
            self._announcer.tell(reply.edges)
            _check(reply)
            self._roster.was_written(session_id)
        except BaseException:
            if is_new:
                await self.disconnect(session_id)
            raise

    async def disconnect(self, session_id: str) -> None:
        """Write that a session is gone; what can't be written now is, later.

        Sessions that go at the same time are written together.
        """
        if self._roster.remove(session_id):
            await self._write_departures()

    async def stop(self) -> None:
        """Close all connections and take their sessions off at once: the server stops."""
        if self._task is not None:
            self._task.cancel()
        going = [line.go_down() for line in tuple(self.lines)]
        await asyncio.gather(*going, return_exceptions=True)
        self._roster.remove_all()
        await self._write_departures()
        await self._announcer.stop()
        self._grace_runs = False  # a peer's to tell, or that of the next process
        await self._release()

    async def close(self) -> None:
        """End the periodic task: the event loop ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def messages_missed(self) -> None:
        """Look again at everything: the channel layer was away, and perhaps Redis, with or
        without its memory.
        """
        self._do_now(_Job.RENEW, _Job.REFRESH)

    def note_failure(self, error: PresenceUnavailable) -> None:
        """Log that the store failed, once; everything is looked at when it is back."""
        if not self.has_failed:
            logger.error(
                "The presence store failed. %s. Connections stay open; presence is written when"
                " it is back.",
                error,
            )
        self.has_failed = self._replies_lost = True

    async def _connect(self, session_id: str, key: str, token: Token) -> Connected:
        for _ in range(2):
            await self._ensure_lease()
            name = self.lease.name  # another session may find the loss first, and recover
            limit = conf.BAZIS_WS_MAX_CONNECTIONS
            reply = await get_store().aask(Connect(name, session_id, key, limit, token))
            if reply.verdict != "lost":
                return reply
            await self._recover(name)
        raise PresenceUnavailable("The presence store forgets this process again and again")

    async def _write_departures(self) -> None:
        try:
            if await self._roster.write_departures():
                self._grace_runs = True
                self._take_census_in(conf.BAZIS_WS_OFFLINE_GRACE_SECONDS)
        except PresenceUnavailable as error:
            self.note_failure(error)
            self._do_now(_Job.WRITE_DEPARTURES)

    async def _confirm(self, edges: Sequence[tuple[str, int]]) -> list[Edge]:
        return await get_store().aask(Told(self.lease.name, edges))

    # --- the lease --------------------------------------------------------------------------

    async def _ensure_lease(self) -> None:
        async with self._registering:
            if not self.lease.name:
                await self._take_lease()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())

    async def _take_lease(self) -> None:
        await self.lease.take()
        self._put(_Job.RENEW, self._period())
        self._put(_Job.CHECK_RECORDS, self._period())
        self._do_now(_Job.CENSUS)

    async def _recover(self, lost: str) -> None:
        """Write everything again, as a new process: the old one is dead to the others."""
        async with self._registering:
            if self.lease.name != lost:
                return
            await self._take_lease()
            self._roster.lost()
            self._do_now(_Job.RESTORE)
        logger.warning("The presence lease was lost; writing the sessions again.")
        await self._restore()

    async def _restore(self) -> None:
        """Write what may have been lost; where that fails, the periodic task tries again."""
        try:
            self._announcer.tell(await self._roster.restore())
        except BaseException:
            self._do_now(_Job.RESTORE)
            raise
        self._agenda.drop(_Job.RESTORE)
        self._do_now(_Job.REFRESH, _Job.WRITE_DEPARTURES)

    async def _release(self) -> bool:
        """Leave no trace of a process without sessions; False if one came meanwhile."""
        async with self._registering:
            if self._is_busy():
                return False
            self._task = None
            try:
                await self.lease.release()
            except PresenceUnavailable as error:
                self.note_failure(error)  # the lease ends by itself; a peer buries the rest
            return True

    # --- the periodic task ------------------------------------------------------------------

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
                    self._put(_Job.CENSUS, self._period())
            await self._announcer.drain()
            if await self._release():
                return

    def _is_busy(self) -> bool:
        is_telling = self._announcer.has_left_over
        return bool(self._roster or self._roster.has_departures or self._grace_runs or is_telling)

    async def _sleep(self) -> None:
        seconds = self._agenda.next_at - self._clock()
        if self.has_failed:
            # The lease goes on running out; whatever is due waits as long.
            seconds = self._period() / 5
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

    async def _do(self, job: _Job) -> None:
        match job:
            case _Job.RENEW:
                await self._renew()
            case _Job.RESTORE:
                await self._restore()
            case _Job.WRITE_DEPARTURES:
                await self._write_departures()
            case _Job.CHECK_RECORDS:
                await self._check_records()
            case _Job.CENSUS:
                await self._take_census()
            case _Job.ANNOUNCE_AGAIN:
                await self._announcer.retry()
            case _Job.REFRESH:
                self._refresh()

    async def _renew(self) -> None:
        name, was_away, had_peers = self.lease.name, self.has_failed, self.lease.has_peers
        after_break = was_away or _Job.REFRESH in self._agenda
        is_held = await self.lease.renew(after_break=after_break)
        self._agenda.move(_Job.RENEW, self._clock() + self._period())
        if was_away:
            self.has_failed = False
            self._do_now(_Job.REFRESH, _Job.WRITE_DEPARTURES, _Job.CENSUS)
            logger.error("The presence store is back.")
        if not is_held:
            return await self._recover(name)
        if self.lease.has_peers and not had_peers:
            self._do_now(_Job.CENSUS)
        if self._announcer.has_left_over:
            self._do_now(_Job.ANNOUNCE_AGAIN)

    async def _check_records(self) -> None:
        self._put(_Job.CHECK_RECORDS, self._period())
        if not await self._roster.is_intact():
            logger.warning("Presence records are missing in Redis; writing them again.")
            self._do_now(_Job.RESTORE)

    async def _take_census(self) -> None:
        may_bury_lost = not self._roster.must_restore
        own, self._replies_lost = self._replies_lost, False
        tell = self._announcer.tell
        name = self.lease.name
        try:
            grace = await take_census(self.lease, tell, own=own, may_bury_lost=may_bury_lost)
        except LeaseLost:
            return await self._recover(name)
        # With peers it comes before each renewal is due, and takes its place.
        self._agenda.move(_Job.RENEW, self._clock() + self._period())
        self._put(_Job.CENSUS, 0.9 * self._period() if self.lease.has_peers else _LONELY_SECONDS)
        if not self.lease.is_settled:
            self._put(_Job.CENSUS, self.lease.settles_in_seconds + 0.05)
        self._grace_runs = grace is not None
        if grace is not None:
            self._take_census_in(grace)

    def _refresh(self) -> None:
        is_settled = self.lease.is_settled
        for watcher in self._roster.watchers:
            watcher.refresh(is_settled=is_settled)
        if not is_settled:
            self._put(_Job.REFRESH, self.lease.settles_in_seconds + 0.1)

    # --- due times --------------------------------------------------------------------------

    def _period(self) -> float:
        # Never longer than the period, which the promises of presence are made of.
        return conf.BAZIS_WS_RENEW_SECONDS * random.uniform(0.9, 1.0)

    def _take_census_in(self, seconds: float) -> None:
        """Take a census a moment after a grace ends: more may be due by then."""
        self._put(_Job.CENSUS, seconds + random.uniform(0.05, 0.25))

    def _put(self, job: _Job, in_seconds: float) -> None:
        if self._agenda.put(job, self._clock() + in_seconds):
            self._wakeup.set()

    def _do_now(self, *jobs: _Job) -> None:
        for job in jobs:
            self._put(job, 0)
        self._wakeup.set()


def _check(reply: Connected) -> None:
    if reply.verdict == "revoked":
        raise SessionRefused("invalid_token", "Token revoked")
    if reply.verdict == "too_many":
        limit = conf.BAZIS_WS_MAX_CONNECTIONS
        raise SessionRefused("too_many_connections", f"At most {limit} connections a user")


_trackers: LoopLocal[Tracker] = LoopLocal(Tracker, Tracker.close)


def current_tracker() -> Tracker:
    """Return the running event loop's tracker."""
    return _trackers.get()
