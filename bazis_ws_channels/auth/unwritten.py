"""Endings that could not be written, kept by this process until Redis is back.

There is no thread that waits: they are tried again at the next thing that the process sends, after
a request, and in a server by the task that looks at sessions again. If the process dies first, a
new password, a deactivation and a deletion are found in the database; a log-out is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from .. import sending
from ..exceptions import PresenceUnavailable, PublishError
from ..locks import ProcessLock
from ..presence.stores import get_store
from ..presence.stores.base import RevokeBefore, RevokeToken
from ..types import GroupMessage

__all__ = ["Unwritten", "look_again", "unwritten"]

logger = logging.getLogger("bazis_ws_channels")

Revocation = RevokeBefore | RevokeToken

#: More are not kept: a process that can't write for so long has other worries.
_MOST = 10_000
#: Seconds between two attempts, at first and at most.
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 15.0


class Unwritten:
    """Revocations, each with the group whose sessions must look again; safe to use from threads.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Revocation, str | None] = {}
        self._lock = ProcessLock()
        self._pause_seconds = _FIRST_SECONDS
        self._next_at = 0.0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, revocation: Revocation, group: str | None) -> None:
        """Keep a revocation that could not be written, or not be told."""
        if len(self._kept) >= _MOST:
            logger.error("Too many endings are waiting for Redis; one is dropped.")
            return
        self._kept[revocation] = group
        self._next_at = self._clock() + self._pause_seconds

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Write what is kept, if Redis is back; raises nothing. Takes a signal's arguments."""
        if not self._kept or self._clock() < self._next_at:
            return
        if not self._lock.acquire(blocking=False):
            return  # somebody is at it; or this is what it sends itself
        try:
            self._write()
        except Exception:
            logger.exception("Endings that could not be written before failed again.")
        finally:
            self._lock.release()

    def _write(self) -> None:
        number = len(self._kept)
        for revocation, group in list(self._kept.items()):
            try:
                get_store().ask(revocation)
                if group is not None:
                    sending.send([look_again(group)])
            except (PresenceUnavailable, PublishError):
                self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_SECONDS)
                self._next_at = self._clock() + self._pause_seconds
                return
            self._kept.pop(revocation, None)
        self._pause_seconds = _FIRST_SECONDS
        logger.warning("%d ending(s) that could not be written before are written now.", number)


def look_again(group: str) -> GroupMessage:
    """Return the message that makes a group's sessions look again at what they are allowed."""
    return group, {"type": "ws.reauthorize", "group": group}


unwritten = Unwritten()
