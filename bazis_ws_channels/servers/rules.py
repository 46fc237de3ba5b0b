"""What one client may send, judged by the headers of its frames. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from ..conf import conf
from .reader import Budget

__all__ = ["PAUSE_AT", "PAUSE_AT_BYTES", "Rules"]

#: Messages that may wait for the application before nothing more is read.
PAUSE_AT = 8
PAUSE_AT_BYTES = 64 * 1024
#: Fragments of one message.
_MOST_FRAGMENTS = 256


class Rules:
    """The same rules under each server that asks them.

    Args:
        budget: the client's.
        is_full: tells whether the client doesn't read.
    """

    def __init__(self, budget: Budget, is_full: Callable[[], bool]) -> None:
        self._budget = budget
        self._is_full = is_full
        self._most_bytes = conf.BAZIS_WS_MAX_FRAME_BYTES
        self._fragments = 0
        self._bytes = 0

    def allow_data(self, is_first: bool, length: int) -> bool:
        """Count a frame of a message as it begins; False if the connection is being closed for it.

        Args:
            is_first: whether it is the first of its message.
            length: what the header announces, bytes.
        """
        self._fragments = 1 if is_first else self._fragments + 1
        self._bytes = length if is_first else self._bytes + length
        if self._is_too_much():
            self._budget.was_exceeded()
            return False
        return True

    def allow_ping(self) -> bool:
        """Count a ping; False if it is not to be answered. A client that doesn't read gets no
        pong (RFC 6455, section 5.5.3).
        """
        return self._budget.may_send_control() and not self._is_full()

    def note_pong(self) -> None:
        """Count a pong, asked for or not."""
        self._budget.may_send_control()

    def _is_too_much(self) -> bool:
        if self._bytes > self._most_bytes:
            return True
        if self._fragments == 1:
            return False
        return self._fragments > _MOST_FRAGMENTS or not self._budget.may_send_control()
