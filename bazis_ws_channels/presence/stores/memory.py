"""Presence in the process, for development and tests without Redis.

The same questions and answers as in Redis, seen by this process alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import base
from .base import Edge, Question, Token

__all__ = ["MemoryStore"]

R = TypeVar("R")


@dataclass
class _Process:
    lease_until: int
    has_peers: bool = False
    records: dict[str, str] = field(default_factory=dict)


@dataclass
class _Change:
    """A change that `owner` tells now, and the one to tell after it."""

    first: Edge
    owner: str
    next: Edge | None = None


class _Changes:
    """Changes that are yet to be told, by user key; see edges.lua."""

    def __init__(self, is_alive: Callable[[str], bool]) -> None:
        self.seq = 0
        self._is_alive = is_alive
        self._changes: dict[str, _Change] = {}

    def add(self, owner: str, key: str, is_online: bool, now: int, last_seen: int) -> list[Edge]:
        """Note a change, for `owner` or whoever tells the one before; return what to tell."""
        self.seq = max(self.seq + 1, now)
        edge = Edge(key, self.seq, is_online, now, last_seen)
        change = self._changes.get(key)
        if change is None:
            self._changes[key] = _Change(edge, owner)
            return [edge]
        change.next = edge if is_online != change.first.is_online else None
        if self._is_alive(change.owner):
            return []
        change.owner = owner
        return [change.first]

    def untold(self, process: str, own: bool) -> list[Edge]:
        """Give a process the changes that nobody tells; with `own` its own too."""
        edges = []
        for change in self._changes.values():
            if (own and change.owner == process) or not self._is_alive(change.owner):
                change.owner = process
                edges.append(change.first)
        return edges

    def told(self, process: str, key: str, seq: int) -> list[Edge]:
        """Note that a change was told; return the next of that user."""
        change = self._changes.get(key)
        if change is None or (change.first.seq, change.owner) != (seq, process):
            return []
        if change.next is None:
            del self._changes[key]
            return []
        change.first, change.next = change.next, None
        return [change.first]


class _Revocations:
    """Void tokens, until they are forgotten."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[int, int, int]] = {}
        self._tokens: dict[str, int] = {}

    def revoke_before(self, question: base.RevokeBefore, moment: int, now: int) -> None:
        """Void all tokens of a user issued before a moment."""
        before, at, until = self._users.get(question.key, (0, 0, 0))
        until = max(until, now + question.ttl_seconds * 1_000_000)
        at = max(at, moment) if question.cookies else at
        self._users[question.key] = (max(moment, before), at, until)

    def revoke_token(self, jti: str, until: int) -> None:
        """Void one token."""
        self._tokens[jti] = until

    def is_void(self, key: str, token: Token, now: int) -> bool:
        """Tell whether a token is void."""
        before, at, until = self._users.get(key, (0, 0, 0))
        if until > now:
            if token.age_us is not None:
                if at > now - token.age_us:
                    return True
            elif token.issued_us is None or token.issued_us < before:
                return True
        return token.jti is not None and self._tokens.get(token.jti, 0) > now


class MemoryStore:
    """Answers questions from dictionaries.

    Args:
        clock: the time in seconds since the epoch.
    """

    shared = False

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._processes: dict[str, _Process] = {}
        self._buried: set[str] = set()
        self._sessions: dict[str, dict[str, str]] = {}
        self._online: set[str] = set()
        self._leaving: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._changes = _Changes(self._alive)
        self._revocations = _Revocations()

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
        peers = [name for name in self._processes if self._has_peer(name, question.process)]
        for name in peers:
            self._processes[name].has_peers = True
        process = self._processes.setdefault(question.process, _Process(0))
        process.lease_until = self._now() + question.lease_ms * 1000
        process.has_peers = bool(peers)
        return process.has_peers

    def renew(self, question: base.Renew) -> bool | None:
        """Answer `Renew`."""
        if not self._alive(question.process):
            return None
        process = self._processes[question.process]
        process.lease_until = self._now() + question.lease_ms * 1000
        return process.has_peers

    def release(self, question: base.Release) -> None:
        """Answer `Release`."""
        self._processes.pop(question.process, None)
        if not self._processes:
            self._buried.clear()

    def intact(self, question: base.Intact) -> bool:
        """Answer `Intact`: nothing vanishes from here."""
        return question.process in self._processes

    def census(self, question: base.Census) -> base.CensusReply:
        """Answer `Census`."""
        now, edges = self._now(), list[Edge]()
        if not self._alive(question.process):
            return base.CensusReply(False, [], False, now, None, False, edges)
        process = self._processes[question.process]
        process.lease_until = now + question.lease_ms * 1000
        due = sorted((at, key) for key, at in self._leaving.items() if at <= now)
        for _, key in due[: question.batch]:
            del self._leaving[key]
            seen = self._seen.get(key, now)
            edges += self._changes.add(question.process, key, False, now, seen)
        edges += self._changes.untold(question.process, question.own)
        has_peers = any(self._has_peer(name, question.process) for name in self._processes)
        process.has_peers = has_peers
        dead = [name for name in self._processes if not self._alive(name)]
        next_due = min(self._leaving.values(), default=None)
        more = len(due) > question.batch
        return base.CensusReply(True, dead, has_peers, now, next_due, more, edges)

    def records(self, question: base.Records) -> base.RecordsReply:
        """Answer `Records`, all at once."""
        process = self._processes.get(question.process)
        return base.RecordsReply("0", list(process.records.items()) if process else [])

    def bury(self, question: base.Bury) -> list[Edge]:
        """Answer `Bury`."""
        edges: list[Edge] = []
        if self._alive(question.dead) or not self._alive(question.process):
            return edges
        self._buried.add(question.dead)
        dead = self._processes.get(question.dead, _Process(0))
        for connection, key in question.records:
            dead.records.pop(connection, None)
            if self._sessions.get(key, {}).get(connection) != question.dead:
                continue
            if self._drop(key, connection) and key in self._online:
                self._online.discard(key)
                self._seen[key] = now = self._now()
                edges += self._changes.add(question.process, key, False, now, now)
        if not dead.records:
            self._processes.pop(question.dead, None)
        return edges

    # --- connections ------------------------------------------------------------------------

    def connect(self, question: base.Connect) -> base.Connected:
        """Answer `Connect`."""
        process, connection, key = question.process, question.connection, question.key
        if not self._alive(process):
            return base.Connected("lost", [])
        if self._revocations.is_void(key, question.token, self._now()):
            return base.Connected("revoked", [])
        if self._sessions.get(key, {}).get(connection) == process:
            return base.Connected("ok", [])
        if self._live(key) >= question.limit:
            return base.Connected("too_many", [])
        self._seen[key] = now = self._now()
        came_online = self._record(process, connection, key)
        edges = self._changes.add(process, key, True, now, now) if came_online else []
        return base.Connected("ok", edges)

    def disconnect(self, question: base.Disconnect) -> bool:
        """Answer `Disconnect`."""
        now, somebody_left = self._now(), False
        forgotten = question.lost is not None and question.lost not in self._buried
        for connection, key in question.records:
            held = self._sessions.get(key, {}).get(connection) == question.process
            if held:
                self._drop(key, connection)
                self._seen[key] = now
            if question.process in self._processes:
                self._processes[question.process].records.pop(connection, None)
            if (held or forgotten) and key not in self._sessions:
                self._online.discard(key)
                self._leaving[key] = now + question.grace_us
                somebody_left = True
        kept_since = now - question.keep_us
        self._seen = {key: at for key, at in self._seen.items() if at > kept_since}
        return somebody_left

    def restore(self, question: base.Restore) -> list[Edge]:
        """Answer `Restore`."""
        edges: list[Edge] = []
        was_buried = question.lost in self._buried
        for connection, key in question.records:
            if self._record(question.process, connection, key) and was_buried:
                now = self._now()
                edges += self._changes.add(question.process, key, True, now, now)
        return edges

    def told(self, question: base.Told) -> list[Edge]:
        """Answer `Told`."""
        process = question.process
        return [
            edge for key, seq in question.edges for edge in self._changes.told(process, key, seq)
        ]

    # --- reading ----------------------------------------------------------------------------

    def statuses(self, question: base.Statuses) -> tuple[int, list[base.Seen]]:
        """Answer `Statuses`."""
        seen = [base.Seen(self._live(key), self._seen.get(key)) for key in question.keys]
        return self._now(), seen

    def counts(self, question: base.Counts) -> list[int]:
        """Answer `Counts`."""
        return [self._live(key) for key in question.keys]

    def told_states(self, question: base.ToldStates) -> tuple[int, int, list[base.ToldState]]:
        """Answer `ToldStates`."""
        states = [
            base.ToldState(key in self._online or key in self._leaving, self._seen.get(key))
            for key in question.keys
        ]
        return self._changes.seq, self._now(), states

    def online_keys(self, question: base.OnlineKeys) -> tuple[bool, list[str]]:
        """Answer `OnlineKeys`."""
        return True, [key for key in self._online if self._live(key)]

    def online_count(self, question: base.OnlineCount) -> int:
        """Answer `OnlineCount`."""
        return sum(1 for key in self._online if self._live(key))

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

    # --- helpers ----------------------------------------------------------------------------

    def _record(self, process: str, connection: str, key: str) -> bool:
        """Write a connection; True if its user had none and was not told online."""
        self._sessions.setdefault(key, {})[connection] = process
        self._processes[process].records[connection] = key
        added = key not in self._online
        self._online.add(key)
        back = self._leaving.pop(key, None) is not None
        return added and not back

    def _drop(self, key: str, connection: str) -> bool:
        """Remove a connection of a user; True if it was the last."""
        del self._sessions[key][connection]
        if self._sessions[key]:
            return False
        del self._sessions[key]
        return True

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _alive(self, process: str) -> bool:
        known = self._processes.get(process)
        return known is not None and known.lease_until > self._now()

    def _has_peer(self, name: str, process: str) -> bool:
        return name != process and self._alive(name)

    def _live(self, key: str) -> int:
        return sum(self._alive(process) for process in self._sessions.get(key, {}).values())


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
    base.RevokeBefore: MemoryStore.revoke_before,
    base.RevokeToken: MemoryStore.revoke_token,
    base.Revoked: MemoryStore.revoked,
}
