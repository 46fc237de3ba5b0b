"""What presence in the process holds: processes, sessions, changes, revocations. No I/O.

Times are microseconds since the epoch, given by the caller or by a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .base import Edge, RevokeBefore, Token

__all__ = ["Changes", "Process", "Processes", "Revocations", "Sessions"]


@dataclass
class Process:
    """A registered process: its lease, whether it has peers, its records by connection."""

    lease_until: int
    has_peers: bool = False
    records: dict[str, str] = field(default_factory=dict)


class Processes:
    """Registered processes by name.

    Args:
        now: the time.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.buried: set[str] = set()
        self._now = now
        self._known: dict[str, Process] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Process:
        return self._known[name]

    def get(self, name: str) -> Process:
        """Return a process; one without a lease or records where it isn't registered."""
        return self._known.get(name, Process(0))

    def is_alive(self, name: str) -> bool:
        """Tell whether a process has its lease."""
        return self.get(name).lease_until > self._now()

    def names(self) -> list[str]:
        """Return those that are registered."""
        return sorted(self._known)

    def dead(self) -> list[str]:
        """Return the names of those whose lease has run out."""
        return [name for name in self._known if not self.is_alive(name)]

    def peers(self, of: str) -> list[Process]:
        """Return the living processes besides one."""
        return [
            process for name, process in self._known.items() if name != of and self.is_alive(name)
        ]

    def add(self, name: str) -> Process:
        """Register a process."""
        return self._known.setdefault(name, Process(0))

    def remove(self, name: str) -> None:
        """Forget a process. What was buried is remembered only while somebody is there."""
        self._known.pop(name, None)
        if not self._known:
            self.buried.clear()

    def extend(self, name: str, lease_ms: int) -> None:
        """Let a lease end after a time from now."""
        self._known[name].lease_until = self._now() + lease_ms * 1000


class Sessions:
    """Connections by user key, who counts as told online, and when users were last there."""

    def __init__(self, processes: Processes) -> None:
        self.online: set[str] = set()
        self.leaving: dict[str, int] = {}
        self.seen: dict[str, int] = {}
        self._processes = processes
        self._holders: dict[str, dict[str, str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._holders

    def holder(self, key: str, connection: str) -> str | None:
        """Return the process that holds a user's connection."""
        return self._holders.get(key, {}).get(connection)

    def live(self, key: str) -> int:
        """Count a user's connections of living processes."""
        holders = self._holders.get(key, {}).values()
        return sum(self._processes.is_alive(process) for process in holders)

    def add(self, process: str, connection: str, key: str) -> bool:
        """Write a connection; True if its user had none and was not told online."""
        self._holders.setdefault(key, {})[connection] = process
        self._processes[process].records[connection] = key
        added = key not in self.online
        self.online.add(key)
        back = self.leaving.pop(key, None) is not None
        return added and not back

    def remove(self, key: str, connection: str) -> bool:
        """Remove a connection of a user; True if it was the last."""
        del self._holders[key][connection]
        if self._holders[key]:
            return False
        del self._holders[key]
        return True

    def take_due(self, now: int, batch: int) -> tuple[list[str], bool]:
        """Take users whose grace is over; tell whether there are more."""
        due = sorted((at, key) for key, at in self.leaving.items() if at <= now)
        keys = [key for _, key in due[:batch]]
        for key in keys:
            del self.leaving[key]
        return keys, len(due) > batch

    def forget_seen_before(self, moment: int) -> None:
        """Throw away older times at which users were last there."""
        self.seen = {key: at for key, at in self.seen.items() if at > moment}


@dataclass
class _Change:
    """A change that `owner` tells now, and the one to tell after it."""

    first: Edge
    owner: str
    next: Edge | None = None


class Changes:
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


class Revocations:
    """Void tokens, until they are forgotten."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[int, int, int]] = {}
        self._tokens: dict[str, int] = {}

    def revoke_before(self, question: RevokeBefore, moment: int, now: int) -> None:
        """Void all tokens of a user issued before a moment."""
        before, at, until = self._users.get(question.key, (0, 0, 0))
        until = max(until, now + question.ttl_seconds * 1_000_000)
        at = max(at, moment) if question.cookies else at
        self._users[question.key] = (max(moment, before), at, until)

    def revoke_token(self, jti: str, until: int) -> None:
        """Void one token."""
        self._tokens[jti] = until

    def count(self, now: int) -> tuple[int, int]:
        """Return how many users' tokens, and how many single tokens, are void."""
        users = sum(until > now for _, _, until in self._users.values())
        return users, sum(until > now for until in self._tokens.values())

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
