"""When a session ends by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["Expiry"]


class Expiry:
    """A timer that may be set again.

    Args:
        expired: called when the time has come.
    """

    def __init__(self, expired: Callable[[], None]) -> None:
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None

    def set(self, moment: float | None) -> float | None:
        """Set the timer to a moment, in seconds since the epoch, or to none; return the seconds
        until then.
        """
        self.cancel()
        if moment is None:
            return None
        left = max(0.0, moment - time.time())
        self._timer = asyncio.get_running_loop().call_later(left, self._expired)
        return left

    def cancel(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
