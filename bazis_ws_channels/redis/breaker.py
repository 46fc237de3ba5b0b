"""Fail at once for a moment after a failure, instead of waiting for a dead server each time."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Breaker"]

_OPEN_SECONDS = 1.0


class Breaker:
    """Remembers the last failure for a second, so that a page with fifty users waits for a dead
    Redis once, not fifty times.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at: float | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt failed, however long ago."""
        return self._failed_at is not None

    @property
    def is_open(self) -> bool:
        """Whether to fail at once instead of trying."""
        failed_at = self._failed_at
        return failed_at is not None and self._clock() - failed_at < _OPEN_SECONDS

    def failed(self) -> None:
        """Note a failure."""
        self._failed_at = self._clock()

    def worked(self) -> None:
        """Note that an attempt succeeded."""
        self._failed_at = None
