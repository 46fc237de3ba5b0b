"""What happens in this process, counted: plain integers, read by `metrics`. No I/O.

Counting costs an increment, whether anybody reads or not. Labels are of low cardinality: a code
that a client or a project makes up counts as ``other``.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Final

__all__ = [
    "CLOSE_CODES",
    "ERROR_CODES",
    "LAG_BOUNDS_SECONDS",
    "Counts",
    "Lag",
    "counts",
    "published",
]

#: Upper bounds of the buckets of the delivery lag.
LAG_BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Recipients of one message for whom the clock is looked at once.
_SAME = 50

#: Close codes that are told apart; each has a series from the start on.
CLOSE_CODES = frozenset(
    {1000, 1001, 1005, 1006, 1009, 1011, 1012, 4400, 4401, 4413, 4429, 4500, 4503}
)
#: Error codes that are told apart, likewise; ``origin`` is a handshake from a page of another site.
ERROR_CODES = frozenset(
    {
        "auth_timeout",
        "bad_message",
        "expired_token",
        "forbidden",
        "internal_error",
        "invalid_token",
        "logged_out",
        "message_too_big",
        "not_authenticated",
        "origin",
        "rate_limited",
        "server_busy",
        "too_many_connections",
        "user_not_found",
    }
)


class Lag:
    """Time between publishing and the socket, by the clocks of the two machines."""

    __slots__ = ("_left", "_published_at", "_spread", "_sum_seconds", "buckets", "sum_seconds")

    def __init__(self) -> None:
        self.sum_seconds = 0.0
        self.buckets = [0] * (len(LAG_BOUNDS_SECONDS) + 1)
        self._published_at: tuple[float, ...] = ()
        self._left = 0

    def observe(self, published_at: tuple[float, ...]) -> None:
        """Count the delivery of messages published at these moments, in seconds since the epoch.

        The clock is looked at once for some recipients of the same messages, who get them together.
        """
        if self._left and published_at == self._published_at:
            self._left -= 1
        else:
            self._published_at, self._left = published_at, _SAME
            now = time.time()
            lags = [max(0.0, now - each) for each in published_at]
            self._sum_seconds = sum(lags)
            self._spread = Counter(bisect_left(LAG_BOUNDS_SECONDS, lag) for lag in lags).items()
        self.sum_seconds += self._sum_seconds
        for bucket, number in self._spread:
            self.buckets[bucket] += number


class Counts:
    """The counters of one process. What an event loop counts is counted by one thread.

    Attributes:
        connections, sessions, anonymous: those that are open now; `sessions` are those of users.
        opened: connections since the start.
        closed: by close code.
        refused: errors told to clients, and handshakes refused, by code.
        received: frames from clients.
        delivered: published messages written to sockets.
        published: by kind (``user``, ``common``, ``anonymous``) and outcome (``ok``, ``failed``).
        recovered: sessions that were resumed, by whether nothing was missed.
        missed: times that a client was told that messages are lost.
        redis_reconnects: connections made again after one was lost.
    """

    def __init__(self) -> None:
        self.connections = self.sessions = self.anonymous = self.opened = 0
        self.received = self.delivered = self.missed = self.redis_reconnects = 0
        self.closed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.published: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.recovered: Counter[str] = Counter()
        self.lag = Lag()

    def note_delivered(self, number: int, published_at: tuple[float, ...]) -> None:
        """Count messages written to a socket, and how long after publishing, where it is known."""
        self.delivered += number
        if published_at:
            self.lag.observe(published_at)

    def note_closed(self, code: int) -> None:
        """Count the end of a connection."""
        self.closed[str(code) if code in CLOSE_CODES else "other"] += 1

    def note_refused(self, code: str) -> None:
        """Count an error told to a client."""
        self.refused[code if code in ERROR_CODES else "other"] += 1


counts = Counts()


def published(kind: str, outcome: str, number: int) -> None:
    """Count published messages. Safe from any thread without a lock, which a fork might leave held:
    the interpreter changes threads at calls and loops, of which this statement has none.
    """
    if number:
        counts.published[kind, outcome] += number
