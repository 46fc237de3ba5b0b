"""One stream as one event loop sees it: is what comes whole? No I/O.

The process hears of messages by pub/sub, which loses what it can't deliver. A follower checks that
each message continues the one before. Where one doesn't, the end of the stream is read: what is
missing is handed out then; if it isn't kept any more, or the history is another one, that is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..types import Event
from .positions import Entry, Position, Tail, missing

__all__ = ["Follower", "Received", "contradicts"]


#: How long what was read from the history may be on its way by pub/sub: longer than any link lags
#: behind that Redis still serves.
_LATE_SECONDS = 10.0


class Received(NamedTuple):
    """A message as it came from Redis, decoded; `entry` is None unless it is recorded."""

    entry: Entry | None
    event: Event
    data: bytes


class Follower:
    """Follows a stream for all sessions of one event loop.

    Sessions that have just opened may know more than `last`, so a session itself passes over what
    it has already been given.

    Attributes:
        last: the newest position that those sessions were given; None before the first.
        behind: the position before the first message, where one came before anybody had read the
            end of the stream.
        held: what came while the stream is being healed; None while it isn't.
        lock: held while messages are handed out.
        sessions: how many follow.
    """

    __slots__ = ("_late_until", "_marks", "behind", "held", "last", "lock", "sessions")

    def __init__(self) -> None:
        self.last: Position | None = None
        self.behind: Position | None = None
        self.held: list[Received] | None = None
        self.lock = asyncio.Lock()
        self.sessions = 0
        #: Until when messages up to `last` may come, by the monotonic clock. It is over when the
        #: next one has come: pub/sub keeps the order.
        self._late_until = 0.0
        #: Marks of what was read from the history and may still come by pub/sub, by offset.
        self._marks: dict[int, str] = {}

    def take(self, entry: Entry) -> bool:
        """Tell whether a message that came by pub/sub may be handed out.

        False: the end of the stream must be read first, for something is missing before it, or it
        is of another history.
        """
        last, (offset, mark) = self.last, entry.position
        if last is None:
            self.behind = Position(offset - 1, entry.before)
        if last is None or (offset == last.offset + 1 and entry.before == last.mark):
            self.last, self._late_until = entry.position, 0.0
            self._marks.clear()
            return True
        if offset > last.offset or time.monotonic() >= self._late_until:
            return False
        return self._marks.get(offset, mark) == mark  # late: it was read before it came

    def start(self, top: Position) -> None:
        """Begin at `top`, unless a message came before."""
        if self.last is None:
            self._restart(top)

    def catch_up(self, tail: Tail) -> Sequence[Entry] | None:
        """Move on to the end of the stream, read while messages are held; return what is to be
        handed out, or None where not all of it is kept.
        """
        entries = () if self.last is None else missing(self.last, tail)
        self._restart(tail.top)
        self._marks.update(entry.position for entry in entries or ())
        return entries

    def _restart(self, top: Position) -> None:
        self.last, self._late_until = top, time.monotonic() + _LATE_SECONDS
        self._marks = {top.offset: top.mark}


def contradicts(top: Position, known: Position | None) -> bool:
    """Tell whether a stream that ends at `top` can't be the one in which `known` was seen."""
    if known is None:
        return False
    return top.offset < known.offset or (top.offset == known.offset and top.mark != known.mark)
