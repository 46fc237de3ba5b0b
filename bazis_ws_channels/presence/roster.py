"""Sessions and departures of one event loop, and writing them to the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from ..conf import conf
from ..times import microseconds
from .departed import Departed
from .lease import Lease
from .stores import get_store
from .stores.base import Disconnect, Edge, Intact, Record, Restore

__all__ = ["Roster", "Watcher"]

#: Sessions in one script call, so that Redis is never busy for long.
_BATCH = 500


class Watcher(Protocol):
    """Told by presence when changes may have been missed."""

    def refresh(self, *, is_settled: bool) -> None:
        """Read again who is online. Unless `is_settled`, a user who seems offline may only be about
        to be restored.
        """


@dataclass(slots=True)
class _Session:
    """An open session, and whether it has been written to the store."""

    key: str
    watcher: Watcher
    is_written: bool = False


@dataclass(slots=True)
class _Departure:
    """A session that has ended; whether the store ever knew of it; and the process that held it, if
    the store may have lost its record before its end: then that is to be told all the same.
    """

    key: str
    was_written: bool
    lost: str | None = None


class Roster:
    """Sessions by id, and departures that are not written yet.

    Attributes:
        must_restore: whether the store may have lost the records of sessions.
        grace_runs: whether somebody who left still counts as told online.
        graces_begun: how many times somebody's last session was written as gone.
        departed: whose departures have just been written.
    """

    def __init__(self, lease: Lease, clock: Callable[[], float] = time.monotonic) -> None:
        self.must_restore = False
        self.grace_runs = False
        self.graces_begun = 0
        self.departed = Departed(clock)
        self._lease = lease
        self._sessions: dict[str, _Session] = {}
        self._departures: dict[str, _Departure] = {}
        self._writing: asyncio.Task[bool] | None = None
        self._checked = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._sessions

    @property
    def has_departures(self) -> bool:
        """Whether a departure is not written yet."""
        return bool(self._departures)

    @property
    def watchers(self) -> list[Watcher]:
        """The watchers of the sessions."""
        return [session.watcher for session in self._sessions.values()]

    def add(self, session_id: str, key: str, watcher: Watcher) -> bool:
        """Add a session. Return False if it is there already."""
        if session_id in self._sessions:
            return False
        self._sessions[session_id] = _Session(key, watcher)
        return True

    def was_written(self, session_id: str) -> None:
        """Note that a session has been written to the store."""
        if session_id in self._sessions:
            self._sessions[session_id].is_written = True

    def remove(self, session_id: str) -> bool:
        """Move a session to the departures. Return False if it isn't there."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return False
        lost = self._lease.lost_name if session.is_written and self.must_restore else None
        self._departures[session_id] = _Departure(session.key, session.is_written, lost)
        return True

    def remove_all(self) -> None:
        """Move every session to the departures."""
        for session_id in tuple(self._sessions):
            self.remove(session_id)

    def lost(self) -> None:
        """Note that the lease was lost, so the store may have lost everything."""
        self.must_restore = True
        # No other process can announce departures that Redis never heard of. A session that was
        # never let in was never told online.
        for departure in self._departures.values():
            departure.lost = self._lease.lost_name if departure.was_written else None

    def note_ended(self, records: Iterable[Record]) -> None:
        """Note that sessions have ended which the store holds as this process's: those that are not
        open. Their end was written before, to a store that has gone back since.
        """
        for session_id, key in records:
            if session_id not in self._sessions:
                self._departures.setdefault(session_id, _Departure(key, was_written=False))

    def note_forgotten(self, process: str, records: Iterable[Record]) -> None:
        """Note that sessions of this process, under a former name or its own, have ended which
        the store never heard of, or has forgotten together with their end.
        """
        for session_id, key in records:
            self._departures[session_id] = _Departure(key, was_written=True, lost=process)

    # --- writing ----------------------------------------------------------------------------

    async def write_departures(self) -> bool:
        """Write the departures; several callers share one call. True if a grace runs now.

        Raises:
            PresenceUnavailable: the store is out of reach; they are kept.
        """
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_departures())
        return await asyncio.shield(self._writing)

    async def _write_departures(self) -> bool:
        await asyncio.sleep(0)  # collect sessions that close in this turn of the loop
        somebody_left = False
        while self._departures:
            lost = next(iter(self._departures.values())).lost
            alike = (each for each in self._departures.items() if each[1].lost == lost)
            batch = dict(islice(alike, _BATCH))
            somebody_left |= await self._write_batch(batch, lost)
            for session_id in batch:
                self._departures.pop(session_id, None)
        return somebody_left

    async def _write_batch(self, batch: dict[str, _Departure], lost: str | None) -> bool:
        grace = conf.BAZIS_WS_OFFLINE_GRACE_SECONDS
        grace += conf.BAZIS_WS_LEASE_SECONDS if lost else 0
        process = self._lease.name
        records = [(session_id, departure.key) for session_id, departure in batch.items()]
        keep = microseconds(conf.BAZIS_WS_LAST_SEEN_SECONDS)
        question = Disconnect(process, microseconds(grace), keep, lost, records)
        somebody_left = await get_store().aask(question)
        told = [each for each in records if batch[each[0]].was_written]
        self.departed.note(process, told, grace)
        if somebody_left:
            self.grace_runs = True
            self.graces_begun += 1
        return somebody_left

    async def restore(self) -> list[Edge]:
        """Write the sessions again; return the changes to tell.

        Raises:
            PresenceUnavailable: the store is out of reach; some may be written.
        """
        edges: list[Edge] = []
        written = self.written()
        # What is missing though the lease is held was not buried, whatever happened before.
        lost = self._lease.lost_name if self.must_restore else ""
        for start in range(0, len(written), _BATCH):
            batch = self.still_open(written[start : start + _BATCH])
            question = Restore(self._lease.name, lost, batch)
            edges += await get_store().aask(question)
            # A session that closed meanwhile was removed before this wrote it: remove it again.
            for session_id, key in batch:
                if session_id not in self._sessions:
                    self._departures[session_id] = _Departure(key, was_written=True)
        self.must_restore = False
        return edges

    async def is_intact(self) -> bool:
        """Check whether records are still in the store, some sessions at each call: Redis may have
        evicted them.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        written = self.written()
        if self._checked >= len(written):
            self._checked = 0
        batch = written[self._checked : self._checked + _BATCH]
        self._checked += len(batch)
        keys = list(dict.fromkeys(key for _, key in batch))
        if not keys or await get_store().aask(Intact(self._lease.name, keys)):
            return True
        return len(self.still_open(batch)) < len(batch)  # missing because they left

    def written(self) -> Sequence[Record]:
        """Return the sessions that are written to the store."""
        return [(sid, each.key) for sid, each in self._sessions.items() if each.is_written]

    def still_open(self, records: Iterable[Record]) -> Sequence[Record]:
        """Return those of sessions that are open."""
        return [record for record in records if record[0] in self._sessions]
