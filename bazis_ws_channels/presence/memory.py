"""Presence in the process, for development and tests without Redis.

The same verbs, arguments and replies as `scripts.py`, seen by this process alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MemoryStore"]


@dataclass
class _Process:
    lease_until: int
    peers: str = "alone"
    records: dict[str, str] = field(default_factory=dict)


class MemoryStore:
    """Answers the verbs from dictionaries.

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
        self._revoked: dict[str, tuple[int, int, int]] = {}
        self._void_tokens: dict[str, int] = {}

    def call(self, verb: str, *args: str | int) -> Any:
        """Answer `verb`."""
        with self._lock:
            return getattr(self, f"_{verb}_")(*map(str, args))

    async def acall(self, verb: str, *args: str | int) -> Any:
        """Answer `verb`; nothing here waits."""
        return self.call(verb, *args)

    # --- processes --------------------------------------------------------------------------

    def _register_(self, process: str, lease_ms: str) -> str:
        peers = "alone"
        for other, known in self._processes.items():
            if other != process and self._alive(other):
                known.peers = peers = "peers"
        lease_until = self._now() + int(lease_ms) * 1000
        self._processes.setdefault(process, _Process(0)).lease_until = lease_until
        self._processes[process].peers = peers
        return peers

    def _renew_(self, process: str, lease_ms: str) -> str | None:
        if not self._alive(process):
            return None
        self._processes[process].lease_until = self._now() + int(lease_ms) * 1000
        return self._processes[process].peers

    def _restore_(self, process: str, old: str, *pairs: str) -> list[Any]:
        edges = []
        for conn, pk in _pairs(pairs):
            if self._record(process, conn, pk) and old in self._buried:
                edges.append(pk)
        return [str(self._now()), edges]

    def _release_(self, process: str) -> int:
        self._processes.pop(process, None)
        if not self._processes:
            self._buried.clear()
        return 1

    def _sweep_(self, process: str, batch: str, whom: str) -> list[Any]:
        now, edges, more = self._now(), [], 0
        left = int(batch)
        dead = [other for other in self._processes if not self._alive(other)]
        for other in dead if self._alive(process) else ():
            if whom not in ("*", other):
                continue
            self._buried.add(other)
            taken = list(self._processes[other].records.items())[:left]
            left -= len(taken)
            edges += [pk for conn, pk in taken if self._bury(other, conn, pk)]
            if self._processes[other].records:
                more = 1
            else:
                del self._processes[other]
        due = sorted((at, pk) for pk, at in self._leaving.items() if at <= now)
        for _, pk in due:
            del self._leaving[pk]
            edges.append(pk)
        told = [part for pk in edges for part in (pk, str(self._seen.get(pk, now)))]
        next_due = str(min(self._leaving.values())) if self._leaving else ""
        peers = any(other != process and self._alive(other) for other in self._processes)
        if process in self._processes:
            self._processes[process].peers = "peers" if peers else "alone"
        return [str(now), more, next_due, int(peers), told]

    def _bury(self, process: str, conn: str, pk: str) -> bool:
        """Take a dead process's connection off; True if its user has no other."""
        del self._processes[process].records[conn]
        if self._sessions.get(pk, {}).get(conn) != process:
            return False
        if not self._drop(pk, conn):
            return False
        self._seen[pk] = self._now()
        self._online.discard(pk)
        return True

    # --- connections ------------------------------------------------------------------------

    def _connect_(
        self, process: str, conn: str, pk: str, limit: str, issued: str, jti: str, age: str
    ) -> list[Any]:
        now = self._now()
        if not self._alive(process):
            return ["lost", 0, str(now)]
        if self._is_void(pk, issued, jti, age):
            return ["revoked", 0, str(now)]
        if self._sessions.get(pk, {}).get(conn) == process:
            return ["ok", 0, str(now)]
        if self._live(pk) >= int(limit):
            return ["too_many", 0, str(now)]
        came_online = self._record(process, conn, pk)
        self._seen[pk] = now
        return ["ok", int(came_online), str(now)]

    def _disconnect_(self, process: str, grace: str, keep: str, lost: str, *pairs: str) -> int:
        now, left = self._now(), 0
        forgotten = lost != "" and lost not in self._buried
        for conn, pk in _pairs(pairs):
            held = self._sessions.get(pk, {}).get(conn) == process
            if held:
                self._drop(pk, conn)
                self._seen[pk] = now
            if process in self._processes:
                self._processes[process].records.pop(conn, None)
            if (held or forgotten) and pk not in self._sessions:
                self._online.discard(pk)
                self._leaving[pk] = now + int(grace)
                left = 1
        self._seen = {pk: at for pk, at in self._seen.items() if at > now - int(keep)}
        return left

    def _record(self, process: str, conn: str, pk: str) -> bool:
        """Write a connection; True if its user had none and was not told online."""
        self._sessions.setdefault(pk, {})[conn] = process
        self._processes[process].records[conn] = pk
        added = pk not in self._online
        self._online.add(pk)
        back = self._leaving.pop(pk, None) is not None
        return added and not back

    def _drop(self, pk: str, conn: str) -> bool:
        """Remove a connection of a user; True if it was the last."""
        del self._sessions[pk][conn]
        if self._sessions[pk]:
            return False
        del self._sessions[pk]
        return True

    # --- reading ----------------------------------------------------------------------------

    def _status_(self, *pks: str) -> list[Any]:
        reply: list[Any] = [str(self._now())]
        for pk in pks:
            reply += [self._live(pk), str(self._seen.get(pk, ""))]
        return reply

    def _count_(self, *pks: str) -> list[int]:
        return [self._live(pk) for pk in pks]

    def _told_(self, *pks: str) -> list[Any]:
        reply: list[Any] = [str(self._now())]
        for pk in pks:
            told = pk in self._online or pk in self._leaving
            reply += [int(told), str(self._seen.get(pk, ""))]
        return reply

    def _online_users_(self) -> list[str]:
        return [pk for pk in self._online if self._live(pk)]

    def _online_count_(self) -> int:
        return len(self._online_users_())

    # --- revocation -------------------------------------------------------------------------

    def _revoke_before_(self, pk: str, before: str, ttl_seconds: str) -> int:
        now = self._now()
        latest, _, until = self._revoked.get(pk, (0, 0, 0))
        until = max(until, now + int(ttl_seconds) * 1_000_000)
        self._revoked[pk] = (max(int(before), latest), now, until)
        return 1

    def _revoke_token_(self, jti: str, ttl_seconds: str) -> int:
        self._void_tokens[jti] = self._now() + int(ttl_seconds) * 1_000_000
        return 1

    def _is_revoked_(self, pk: str, issued: str, jti: str) -> int:
        return int(self._is_void(pk, issued, jti, ""))

    def _is_void(self, pk: str, issued: str, jti: str, age: str) -> bool:
        now = self._now()
        before, at, until = self._revoked.get(pk, (0, 0, 0))
        if until > now:
            if age:
                if at > now - int(age):
                    return True
            elif not issued or int(issued) < before:
                return True
        return bool(jti) and self._void_tokens.get(jti, 0) > now

    # --- helpers ----------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _alive(self, process: str) -> bool:
        known = self._processes.get(process)
        return known is not None and known.lease_until > self._now()

    def _live(self, pk: str) -> int:
        return sum(self._alive(process) for process in self._sessions.get(pk, {}).values())


def _pairs(items: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return zip(items[::2], items[1::2], strict=True)
