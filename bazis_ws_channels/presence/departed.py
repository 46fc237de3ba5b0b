"""Whose departures were written a moment ago: during the grace only the store knows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .stores.base import Edge, Record

__all__ = ["Departed", "Departure"]

#: How much later than a grace ends its end may be told.
_LATE_SECONDS = 0.5


class Departure(NamedTuple):
    """A user's last departure from this process.

    Attributes:
        process: the name under which it was written.
        session_id: the session that has ended.
        at: when the store had confirmed it, by the clock.
        until: when the grace is over, and its end told.
    """

    process: str
    session_id: str
    at: float
    until: float


class Departed:
    """Departures that the store has confirmed, and may forget before anybody is told of them.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._departures: dict[str, Departure] = {}

    def note(self, process: str, records: Iterable[Record], grace_seconds: float) -> None:
        """Note departures that have just been confirmed."""
        now = self._clock()
        until = now + grace_seconds + _LATE_SECONDS
        for session_id, key in records:
            self._departures[key] = Departure(process, session_id, now, until)

    def prune(self) -> None:
        """Forget those whose grace is over: the store has lost nothing so far."""
        now = self._clock()
        self._departures = {
            key: departure for key, departure in self._departures.items() if departure.until > now
        }

    def note_told(self, edges: Iterable[Edge]) -> None:
        """Forget those who are told offline."""
        for edge in edges:
            if not edge.is_online:
                self._departures.pop(edge.key, None)

    def clear(self) -> None:
        """Forget all."""
        self._departures.clear()

    def latest(self) -> dict[str, Departure]:
        """Return them by user key."""
        return dict(self._departures)

    def age_seconds(self, departure: Departure) -> float:
        """Return how long ago a departure was confirmed."""
        return self._clock() - departure.at
