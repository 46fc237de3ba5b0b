"""Limits of what one client may send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import protocol
from ..buckets import TokenBucket
from ..conf import conf

__all__ = ["Limits", "Refusal", "cost_of"]

#: What a message costs in frames, besides its own: a token, and each user of a list.
_TOKEN_COST = 4.0
_USER_COST = 0.05


class Refusal(NamedTuple):
    """Error to send for a frame that is not served, and the code to close with, if any."""

    code: str
    detail: str
    close: int | None = None


class Limits:
    """One connection's allowance: frames a second, weighted by cost; their size; bad messages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = TokenBucket(
            conf.BAZIS_WS_FRAMES_PER_SECOND, conf.BAZIS_WS_FRAMES_BURST, clock
        )
        self._missed = 0
        self._bad_messages = 0

    def admit(self, text: str | None, data: bytes | None) -> Refusal | bool:
        """Take a frame off the allowance: True if it may be read, False if it is dropped without
        a word, or what the client is told.
        """
        size_bytes = len(text.encode()) if text is not None else len(data or b"")
        if size_bytes > conf.BAZIS_WS_MAX_FRAME_BYTES:
            return self.too_big()
        return self.charge(1)

    def charge(self, units: float) -> Refusal | bool:
        """Take what a frame costs off the allowance; as `admit`."""
        if self._bucket.take(units):
            self._missed = max(0, self._missed - 1)
            return True
        self._missed += 1
        if self._missed > conf.BAZIS_WS_FRAMES_BURST:
            return self.flooded()
        if self._missed == 1:
            rate = conf.BAZIS_WS_FRAMES_PER_SECOND
            return Refusal("rate_limited", f"At most {rate} frames a second; dropped")
        return False

    def flooded(self) -> Refusal:
        """Return what is told to one who goes on over the limit."""
        return Refusal("rate_limited", "Too many frames", protocol.CLOSE_TOO_MUCH)

    def too_big(self) -> Refusal:
        """Return what is told of a frame that is too big, or of too many fragments."""
        detail = f"At most {conf.BAZIS_WS_MAX_FRAME_BYTES} bytes a frame"
        return Refusal("message_too_big", detail, protocol.CLOSE_TOO_BIG)

    def bad_message(self, detail: str) -> Refusal:
        """Count a bad message; return the error to send."""
        self._bad_messages += 1
        is_last = self._bad_messages >= conf.BAZIS_WS_MAX_BAD_MESSAGES
        return Refusal("bad_message", detail, protocol.CLOSE_BAD_CLIENT if is_last else None)


def cost_of(content: dict[str, Any]) -> float:
    """Return what a message costs besides its frame, in frames."""
    if "token" in content and "type" not in content:
        return _TOKEN_COST
    users = content.get("users")
    if not isinstance(users, list):
        return 0.0
    # A longer list is refused unread.
    return _USER_COST * min(len(users), conf.BAZIS_WS_MAX_WATCHED)
