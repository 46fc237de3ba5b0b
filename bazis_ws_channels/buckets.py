"""A token bucket: how much in the long run, and how much at once."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows `rate` units a second in the long run and `burst` at once.

    Args:
        clock: seconds, monotonic.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_rate", "_tokens")

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self, units: float = 1) -> bool:
        """Take some units, at most all that the bucket can hold; False if they are not there."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        units = min(units, self._burst)
        if self._tokens < units:
            return False
        self._tokens -= units
        return True
