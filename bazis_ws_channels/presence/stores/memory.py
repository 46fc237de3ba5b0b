"""Presence in the process, for development and tests without Redis.

The same questions and answers as in Redis, seen by this process alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ...locks import ProcessLock
from . import base
from .base import Edge, Question
from .ledger import Changes, Processes, Revocations, Sessions

__all__ = ["MemoryStore"]

R = TypeVar("R")


class _Holdings:
    """What the store holds, and the answers that only read it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = ProcessLock()
        self._processes = Processes(self._now)
        self._sessions = Sessions(self._processes)
        self._changes = Changes(self._processes.is_alive)
        self._revocations = Revocations()

    # --- reading ----------------------------------------------------------------------------

    def statuses(self, question: base.Statuses) -> tuple[int, list[base.Seen]]:
        """Answer `Statuses`."""
        sessions = self._sessions
        seen = [base.Seen(sessions.live(key), sessions.seen.get(key)) for key in question.keys]
        return self._now(), seen

    def counts(self, question: base.Counts) -> list[int]:
        """Answer `Counts`."""
        return [self._sessions.live(key) for key in question.keys]

    def told_states(self, question: base.ToldStates) -> tuple[int, int, list[base.ToldState]]:
        """Answer `ToldStates`."""
        known = self._sessions
        states = [
            base.ToldState(key in known.online or key in known.leaving, known.seen.get(key))
            for key in question.keys
        ]
        return self._changes.seq, self._now(), states

    def online_keys(self, question: base.OnlineKeys) -> base.OnlineReply:
        """Answer `OnlineKeys`: all at once."""
        keys = [key for key in self._sessions.online if self._sessions.live(key)]
        return base.OnlineReply(True, "0", keys)

    def online_count(self, question: base.OnlineCount) -> int:
        """Answer `OnlineCount`."""
        return sum(1 for key in self._sessions.online if self._sessions.live(key))

    # --- for operators ----------------------------------------------------------------------

    def processes(self, question: base.Processes) -> list[str]:
        """Answer `Processes`."""
        return self._processes.names()

    def fleet(self, question: base.Fleet) -> list[base.ProcessState]:
        """Answer `Fleet`."""
        return [
            base.ProcessState(
                self._processes.is_alive(name), len(self._processes.get(name).records)
            )
            for name in question.processes
        ]

    def lead(self, question: base.Lead) -> bool:
        """Answer `Lead`: there is no other process."""
        return True

    def count_revocations(self, question: base.Revocations) -> base.RevocationsReply:
        """Answer `Revocations`, all at once."""
        return base.RevocationsReply("0", *self._revocations.count(self._now()))

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)


class MemoryStore(_Holdings):
    """Answers questions from dictionaries.

    Args:
        clock: the time in seconds since the epoch.
    """

    shared = False
    openings = 0

    def ask(self, question: Question[R]) -> R:
        """Answer a question."""
        with self._lock:
            answer: R = _ANSWERS[type(question)](self, question)
            return answer

    async def aask(self, question: Question[R]) -> R:
        """Answer a question; nothing here waits."""
        return self.ask(question)

    # --- a process's life -------------------------------------------------------------------

    def register(self, question: base.Register) -> bool:
        """Answer `Register`."""
        peers = self._processes.peers(question.process)
        for peer in peers:
            peer.has_peers = True
        self._processes.add(question.process).has_peers = bool(peers)
        self._processes.extend(question.process, question.lease_ms)
        return bool(peers)

    def renew(self, question: base.Renew) -> bool | None:
        """Answer `Renew`."""
        if not self._processes.is_alive(question.process):
            return None
        self._processes.extend(question.process, question.lease_ms)
        return self._processes[question.process].has_peers

    def release(self, question: base.Release) -> None:
        """Answer `Release`."""
        process = self._processes.get(question.process)
        process.lease_until = 0
        if not process.records:
            self._processes.remove(question.process)

    def intact(self, question: base.Intact) -> bool:
        """Answer `Intact`: nothing vanishes from here."""
        return question.process in self._processes

    def census(self, question: base.Census) -> base.CensusReply:
        """Answer `Census`."""
        process, now, edges = question.process, self._now(), list[Edge]()
        if not self._processes.is_alive(process):
            return base.CensusReply(False, [], False, now, None, False, edges)
        self._processes.extend(process, question.lease_ms)
        due, more = self._sessions.take_due(now, question.batch)
        for key in due:
            seen = self._sessions.seen.get(key, now)
            edges += self._changes.add(process, key, False, now, seen)
        edges += self._changes.untold(process, question.own)
        has_peers = bool(self._processes.peers(process))
        self._processes[process].has_peers = has_peers
        next_due = min(self._sessions.leaving.values(), default=None)
        dead = self._processes.dead()
        return base.CensusReply(True, dead, has_peers, now, next_due, more, edges)

    def records(self, question: base.Records) -> base.RecordsReply:
        """Answer `Records`, all at once."""
        return base.RecordsReply("0", list(self._processes.get(question.process).records.items()))

    def bury(self, question: base.Bury) -> list[Edge]:
        """Answer `Bury`."""
        edges: list[Edge] = []
        is_alive, sessions = self._processes.is_alive, self._sessions
        if is_alive(question.dead) or not is_alive(question.process):
            return edges
        self._processes.buried.add(question.dead)
        dead = self._processes.get(question.dead)
        for connection, key in question.records:
            dead.records.pop(connection, None)
            if sessions.holder(key, connection) != question.dead:
                continue
            if sessions.remove(key, connection) and key in sessions.online:
                sessions.online.discard(key)
                edges += self._leave(question, key)
        if not dead.records:
            self._processes.remove(question.dead)
        return edges

    def _leave(self, question: base.Bury, key: str) -> list[Edge]:
        """Tell that a user is offline, or let the grace go on."""
        now, sessions = self._now(), self._sessions
        ended = min(max(sessions.seen.get(key, 0), now - question.silent_us), now)
        sessions.seen[key] = now
        if ended + question.grace_us <= now:
            return self._changes.add(question.process, key, False, now, now)
        sessions.leaving[key] = ended + question.grace_us
        return []

    # --- connections ------------------------------------------------------------------------

    def connect(self, question: base.Connect) -> base.Connected:
        """Answer `Connect`."""
        process, connection, key = question.process, question.connection, question.key
        if not self._processes.is_alive(process):
            return base.Connected("lost", [])
        if self._revocations.is_void(key, question.token, self._now()):
            return base.Connected("revoked", [])
        if self._sessions.holder(key, connection) == process:
            return base.Connected("ok", [])
        if self._sessions.live(key) >= question.limit:
            return base.Connected("too_many", [])
        self._sessions.seen[key] = now = self._now()
        came_online = self._sessions.add(process, connection, key)
        edges = self._changes.add(process, key, True, now, now) if came_online else []
        return base.Connected("ok", edges)

    def disconnect(self, question: base.Disconnect) -> bool:
        """Answer `Disconnect`."""
        now, sessions, somebody_left = self._now(), self._sessions, False
        process = self._processes.get(question.process)
        forgotten = question.lost is not None and question.lost not in self._processes.buried
        for connection, key in question.records:
            held = sessions.holder(key, connection) == question.process
            if held:
                sessions.remove(key, connection)
            if held or forgotten:
                sessions.seen[key] = now
            process.records.pop(connection, None)
            if (held or forgotten) and key not in sessions:
                sessions.online.discard(key)
                sessions.leaving[key] = now + question.grace_us
                somebody_left = True
        sessions.forget_seen_before(now - question.keep_us)
        return somebody_left

    def restore(self, question: base.Restore) -> list[Edge]:
        """Answer `Restore`."""
        edges: list[Edge] = []
        was_buried = question.lost in self._processes.buried
        for connection, key in question.records:
            if self._sessions.add(question.process, connection, key) and was_buried:
                now = self._now()
                edges += self._changes.add(question.process, key, True, now, now)
        return edges

    def told(self, question: base.Told) -> list[Edge]:
        """Answer `Told`."""
        process = question.process
        return [
            edge for key, seq in question.edges for edge in self._changes.told(process, key, seq)
        ]

    # --- revocation -------------------------------------------------------------------------

    def revoke_before(self, question: base.RevokeBefore) -> int:
        """Answer `RevokeBefore`."""
        now = self._now()
        moment = now if question.before_us is None else question.before_us
        self._revocations.revoke_before(question, moment, now)
        return moment

    def revoke_token(self, question: base.RevokeToken) -> None:
        """Answer `RevokeToken`."""
        until = self._now() + question.ttl_seconds * 1_000_000
        self._revocations.revoke_token(question.jti, until)

    def revoked(self, question: base.Revoked) -> list[bool]:
        """Answer `Revoked`."""
        now = self._now()
        return [self._revocations.is_void(key, token, now) for key, token in question.tokens]


_ANSWERS: dict[type[Question[Any]], Callable[[MemoryStore, Any], Any]] = {
    base.Register: MemoryStore.register,
    base.Renew: MemoryStore.renew,
    base.Release: MemoryStore.release,
    base.Intact: MemoryStore.intact,
    base.Census: MemoryStore.census,
    base.Records: MemoryStore.records,
    base.Bury: MemoryStore.bury,
    base.Connect: MemoryStore.connect,
    base.Disconnect: MemoryStore.disconnect,
    base.Restore: MemoryStore.restore,
    base.Told: MemoryStore.told,
    base.Statuses: MemoryStore.statuses,
    base.Counts: MemoryStore.counts,
    base.ToldStates: MemoryStore.told_states,
    base.OnlineKeys: MemoryStore.online_keys,
    base.OnlineCount: MemoryStore.online_count,
    base.Processes: MemoryStore.processes,
    base.Fleet: MemoryStore.fleet,
    base.Lead: MemoryStore.lead,
    base.Revocations: MemoryStore.count_revocations,
    base.RevokeBefore: MemoryStore.revoke_before,
    base.RevokeToken: MemoryStore.revoke_token,
    base.Revoked: MemoryStore.revoked,
}
