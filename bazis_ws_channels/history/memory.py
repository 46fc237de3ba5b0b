"""Streams in the process, for development without Redis: the same answers."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..locks import ProcessLock
from ..types import Event
from .commands import ONCE_SECONDS, limits
from .positions import Entry, Position, Tail, new_mark

__all__ = ["MemoryStreams", "Results"]


@dataclass(slots=True)
class _Stream:
    """One stream: its newest position, and what is kept."""

    top: Position
    entries: deque[Entry] = field(default_factory=deque)
    kept_bytes: int = 0
    expires_at: float = 0.0


class Results:
    """What calls with idempotency keys returned, for five minutes.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, int]] = {}

    def get(self, once: str) -> int | None:
        """Return a result, if it is known."""
        at, result = self._kept.get(once, (-ONCE_SECONDS, 0))
        return result if self._clock() - at < ONCE_SECONDS else None

    def keep(self, once: str, result: int) -> None:
        """Keep a result."""
        now = self._clock()
        for old in [each for each, (at, _) in self._kept.items() if now - at >= ONCE_SECONDS]:
            del self._kept[old]
        self._kept[once] = now, result


class MemoryStreams:
    """Streams in the process: see `Streams`. Nothing is lost on the way, so nothing is healed.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = ProcessLock()
        self._streams: dict[str, _Stream] = {}
        self._results = Results(clock)
        self._published = Results(clock)

    @property
    def is_on(self) -> bool:
        """Whether messages are recorded, as the settings say."""
        return limits() is not None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._streams.clear()
            self._results, self._published = Results(self._clock), Results(self._clock)

    # --- publishing -------------------------------------------------------------------------

    def claim(self, group: str, once: str) -> bool:
        """Tell whether nothing was published to a group by this idempotency key; now it was."""
        with self._lock:
            name = f"{once} {group}"
            if self._published.get(name) is not None:
                return False
            self._published.keep(name, 0)
            return True

    def append(self, group: str, event: Event) -> Position | None:
        """Record an event that JSON can hold, if somebody holds a position of the group's stream;
        return its position.
        """
        kept, payload = limits(), json.dumps(event).encode()
        with self._lock:
            stream = self._streams.get(group)
            if kept is None or stream is None:
                return None
            if self._clock() >= stream.expires_at:
                stream.entries.clear()
                stream.kept_bytes = 0
            position = Position(stream.top.offset + 1, new_mark())
            stream.entries.append(Entry(position, stream.top.mark, payload, 0))
            stream.top = position
            stream.kept_bytes += len(payload)
            stream.expires_at = self._clock() + kept.seconds
            while stream.entries and (
                len(stream.entries) > kept.messages or stream.kept_bytes > kept.max_bytes
            ):
                stream.kept_bytes -= len(stream.entries.popleft().data)
            return position

    # --- reading ----------------------------------------------------------------------------

    def decode(self, entry: Entry) -> Event:
        """Return the event of a recorded message."""
        return {**json.loads(entry.payload), "position": entry.position}

    def read(self, group: str, since: Position | None) -> Tail:
        """Return the end of a group's stream, which begins here if it was not."""
        with self._lock:
            stream = self._streams.get(group)
            if stream is None:
                stream = self._streams[group] = _Stream(Position(0, new_mark()))
            gap = 0 if since is None else stream.top.offset - since.offset
            is_kept = self._clock() < stream.expires_at and 0 < gap <= len(stream.entries)
            return Tail(stream.top, list(stream.entries)[-gap:] if is_kept else ())

    async def open(self, groups: Sequence[str], since: Sequence[Position | None]) -> Sequence[Tail]:
        """Return the ends of groups' streams."""
        return [self.read(group, at) for group, at in zip(groups, since, strict=True)]

    def close(self, groups: Sequence[str]) -> None:
        """Do nothing: nothing is followed."""

    async def tops(self, groups: Sequence[str]) -> Sequence[Position]:
        """Return the positions of groups' streams now; they begin here if they were not."""
        return self.tops_blocking(groups, 0)

    def tops_blocking(self, groups: Sequence[str], limit_seconds: float) -> Sequence[Position]:
        """Sync twin of `tops`."""
        return [self.read(group, None).top for group in groups]

    async def result(self, once: str) -> int | None:
        """Return what the call with an idempotency key returned."""
        return self.result_blocking(once, 0)

    def result_blocking(self, once: str, limit_seconds: float) -> int | None:
        """Sync twin of `result`."""
        with self._lock:
            return self._results.get(once)

    async def keep_result(self, once: str, result: int) -> None:
        """Keep what the call with an idempotency key returned."""
        self.keep_result_blocking(once, result, 0)

    def keep_result_blocking(self, once: str, result: int, limit_seconds: float) -> None:
        """Sync twin of `keep_result`."""
        with self._lock:
            self._results.keep(once, result)
