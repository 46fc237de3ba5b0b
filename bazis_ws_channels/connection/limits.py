"""How much one client may send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from .. import protocol
from ..conf import conf

__all__ = ["Limits", "Refusal", "TokenBucket"]


class Refusal(NamedTuple):
    """What a client is told of a frame that is not served, and the code to close with, if any."""

    code: str
    detail: str
    close: int | None = None


class Limits:
    """One connection's allowance: frames a second, their size, bad messages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = TokenBucket(
            conf.BAZIS_WS_FRAMES_PER_SECOND, conf.BAZIS_WS_FRAMES_BURST, clock
        )
        self._missed = 0
        self._bad_messages = 0

    def admit(self, text: str | None, data: bytes | None) -> Refusal | bool:
        """Take a frame off the allowance: True if it may be served, False if it is dropped without
        a word, or what the client is told.
        """
        size_bytes = len(text.encode()) if text is not None else len(data or b"")
        limit = conf.BAZIS_WS_MAX_FRAME_BYTES
        if size_bytes > limit:
            detail = f"At most {limit} bytes a frame"
            return Refusal("message_too_big", detail, protocol.CLOSE_TOO_BIG)
        if self._bucket.take():
            self._missed = max(0, self._missed - 1)
            return True
        self._missed += 1
        if self._missed > conf.BAZIS_WS_FRAMES_BURST:
            return Refusal("rate_limited", "Too many frames", protocol.CLOSE_TOO_MUCH)
        if self._missed == 1:
            rate = conf.BAZIS_WS_FRAMES_PER_SECOND
            return Refusal("rate_limited", f"At most {rate} frames a second; dropped")
        return False

    def bad_message(self, detail: str) -> Refusal:
        """Count a bad message; return what the client is told."""
        self._bad_messages += 1
        is_last = self._bad_messages >= conf.BAZIS_WS_MAX_BAD_MESSAGES
        return Refusal("bad_message", detail, protocol.CLOSE_BAD_CLIENT if is_last else None)


class TokenBucket:
    """Allows `rate` events a second in the long run and `burst` at once.

    Args:
        clock: seconds, monotonic.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_rate", "_tokens")

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take one token; False if there is none."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
