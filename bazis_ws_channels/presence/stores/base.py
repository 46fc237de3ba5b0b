"""Questions to a presence store, as values, and the store's interface.

Times are whole microseconds since the epoch by the store's own clock; users are named by their
keys (`users.key_of`). A *process* is the lease's name of one serving event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

__all__ = [
    "Bury",
    "Census",
    "CensusReply",
    "Connect",
    "Connected",
    "Counts",
    "Disconnect",
    "Edge",
    "Fleet",
    "Intact",
    "Lead",
    "OnlineCount",
    "OnlineKeys",
    "OnlineReply",
    "ProcessState",
    "Processes",
    "Question",
    "Record",
    "Records",
    "RecordsReply",
    "Register",
    "Release",
    "Renew",
    "Restore",
    "Revocations",
    "RevocationsReply",
    "RevokeBefore",
    "RevokeToken",
    "Revoked",
    "Seen",
    "Statuses",
    "Store",
    "Token",
    "Told",
    "ToldState",
    "ToldStates",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: A connection's id and its user's key.
Record = tuple[str, str]


class Question(Generic[R_co]):
    """Something to ask a store; the type parameter is the reply's."""

    __slots__ = ()


class Store(Protocol):
    """Answers questions."""

    #: Whether other processes see what is written.
    shared: bool

    @property
    def openings(self) -> int:
        """A number that is another one whenever the running event loop's connection is a new one:
        the store may then have gone back to what it once held.
        """

    def ask(self, question: Question[R]) -> R:
        """Answer a question, blocking.

        Raises:
            PresenceUnavailable: Redis is out of reach, too slow, or gave an unexpected reply.
        """

    async def aask(self, question: Question[R]) -> R:
        """Answer a question without blocking the event loop. Raises as `ask`."""


# --- replies --------------------------------------------------------------------------------


class Edge(NamedTuple):
    """A change of a user's online status that hasn't been told yet.

    Attributes:
        seq: number of the change; it only grows, whatever the clock does.
        at: when the status changed.
        last_seen: when the user was last online.
    """

    key: str
    seq: int
    is_online: bool
    at: int
    last_seen: int


class Connected(NamedTuple):
    """Reply to `Connect`. ``lost``: the process has no lease, nothing was written."""

    verdict: Literal["ok", "lost", "revoked", "too_many"]
    edges: list[Edge]


class CensusReply(NamedTuple):
    """Reply to `Census`.

    Attributes:
        is_alive: whether the asking process has its lease, which is renewed then.
        dead: registered processes whose lease has run out.
        next_due: when the next grace ends; None if none runs.
        more: whether there is more to do at once.
        edges: changes to tell.
    """

    is_alive: bool
    dead: list[str]
    has_peers: bool
    now: int
    next_due: int | None
    more: bool
    edges: list[Edge]


class RecordsReply(NamedTuple):
    """Reply to `Records`; the cursor is "0" at the end."""

    cursor: str
    records: list[Record]


class OnlineReply(NamedTuple):
    """Reply to `OnlineKeys`.

    Attributes:
        are_sure: whether all processes are alive; if not, some of the users may be offline.
        cursor: where to go on; "0" at the end.
        keys: of users; one may come twice.
    """

    are_sure: bool
    cursor: str
    keys: list[str]


class Seen(NamedTuple):
    """One user's reply to `Statuses`: live connections, and the last time there was one."""

    connections: int
    last_seen: int | None


class ToldState(NamedTuple):
    """One user's reply to `ToldStates`: what was told last, or is being told now."""

    is_online: bool
    last_seen: int | None


class ProcessState(NamedTuple):
    """One process's reply to `Fleet`."""

    is_alive: bool
    connections: int


class RevocationsReply(NamedTuple):
    """Reply to `Revocations`; the cursor is "0" at the end."""

    cursor: str
    users: int
    tokens: int


# --- a process's life -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Register(Question[bool]):
    """Take a lease under a new name. The reply: whether there are peers, which are notified."""

    process: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Renew(Question[bool | None]):
    """Renew a lease. The reply: whether there are peers; None if the lease was lost."""

    process: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Release(Question[None]):
    """Release a lease. A process that has connections, of which it doesn't know, is dead then."""

    process: str


@dataclass(frozen=True, slots=True)
class Intact(Question[bool]):
    """Check that the records of a process, and of these users, are still there."""

    process: str
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Census(Question[CensusReply]):
    """Find dead processes, users whose grace is over, and changes that nobody tells: those of a
    dead process, and with `own` those of this process, whose replies may have been lost. At most
    about `batch` of each. It renews the lease too.
    """

    process: str
    lease_ms: int
    batch: int
    own: bool = False


@dataclass(frozen=True, slots=True)
class Records(Question[RecordsReply]):
    """Read about `count` records of a process, from a cursor ("0" at first)."""

    process: str
    cursor: str
    count: int


@dataclass(frozen=True, slots=True)
class Bury(Question[list[Edge]]):
    """Remove records of a dead process, and the process itself when none is left.

    It counts as buried from the first record on: users restored meanwhile were told offline. Users
    whose grace is over are told at once. The grace of the others goes on: it begins with the end of
    the user's last session on a living process, or with the death of this one. The reply: the
    changes to tell.

    Attributes:
        grace_us: how long a user counts as told online after the last session.
        silent_us: how long the dead process has been dead, at least.
    """

    process: str
    dead: str
    records: Sequence[Record]
    grace_us: int = 0
    silent_us: int = 0


# --- connections ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """What revocations are checked against.

    Attributes:
        issued_us: the token's time of issue, None if it has none.
        jti: the token's id, None if it has none.
        age_us: how long ago a Django session was checked; None for a token.
    """

    issued_us: int | None = None
    jti: str | None = None
    age_us: int | None = None


@dataclass(frozen=True, slots=True)
class Connect(Question[Connected]):
    """Write that a connection is open, unless its token is void or the user already has `limit`."""

    process: str
    connection: str
    key: str
    limit: int
    token: Token


@dataclass(frozen=True, slots=True)
class Disconnect(Question[bool]):
    """Write that connections are gone. The reply: whether any user's last one went.

    Attributes:
        grace_us: how long after that the user counts as told online.
        keep_us: how long last-seen times are kept.
        lost: the process that held them, if the store may have lost it. Their end must still be
            announced, unless a peer has buried that process and so announced it.
    """

    process: str
    grace_us: int
    keep_us: int
    lost: str | None
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Restore(Question[list[Edge]]):
    """Write connections again that were written under a lease that was lost.

    Users who weren't told offline (because the store lost its memory) come back silently.
    """

    process: str
    lost: str
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Told(Question[list[Edge]]):
    """Note that changes were told. The reply: later changes of the same users."""

    process: str
    edges: Sequence[tuple[str, int]]


# --- reading --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statuses(Question[tuple[int, list[Seen]]]):
    """Read users' connections and last-seen times; the reply begins with the time."""

    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Counts(Question[list[int]]):
    """Count users' live connections."""

    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class ToldStates(Question[tuple[int, int, list[ToldState]]]):
    """Read what was told of users; the reply begins with the number of the last change and the
    time.
    """

    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class OnlineKeys(Question[OnlineReply]):
    """List users with a connection: about `count` from a cursor on."""

    cursor: str
    count: int


@dataclass(frozen=True, slots=True)
class OnlineCount(Question[int | None]):
    """Count users with a connection. The reply is None if a process is dead: then ask `OnlineKeys`
    and `Counts`.
    """


# --- for operators --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Processes(Question[list[str]]):
    """List the processes that are registered, alive or not yet buried."""


@dataclass(frozen=True, slots=True)
class Fleet(Question[list[ProcessState]]):
    """Look at processes."""

    processes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lead(Question[bool]):
    """Become, or stay, the one process that tells what is true of all; false if another is."""

    process: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Revocations(Question[RevocationsReply]):
    """Count what is revoked among about `count` keys, from a cursor ("0" at first)."""

    cursor: str
    count: int


# --- revocation -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RevokeBefore(Question[int]):
    """Void all tokens of a user issued before a moment, by default now; the reply: that moment.

    Attributes:
        cookies: whether Django sessions that were looked at before the moment are void too.
    """

    key: str
    before_us: int | None
    ttl_seconds: int
    cookies: bool = True


@dataclass(frozen=True, slots=True)
class RevokeToken(Question[None]):
    """Void one token, by its id."""

    jti: str
    ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Revoked(Question[list[bool]]):
    """Check for each user and token whether it is void."""

    tokens: Sequence[tuple[str, Token]]
