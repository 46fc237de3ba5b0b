"""How long a socket without a session may wait for a token."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator

from .. import protocol
from ..conf import conf
from ..types import Scope
from .line import Line
from .lobby import address_of, current_lobby
from .tasks import Tasks

__all__ = ["Patience"]


class Patience:
    """The time that one client has to bring a valid token, in a lobby with others.

    It stands still while the server has a token that it has not looked at.

    Args:
        scope: the connection's.
        tasks: those of the connection.
        line: to the client.
        is_live: tells whether there is a session, so that nothing is waited for.
    """

    def __init__(self, scope: Scope, tasks: Tasks, line: Line, is_live: Callable[[], bool]) -> None:
        self._scope = scope
        self._tasks = tasks
        self._line = line
        self._is_live = is_live
        self._timer: asyncio.TimerHandle | None = None
        self._has_token = False
        self._seconds_left: float | None = None  # while the server has a token

    def start(self) -> None:
        """Begin to wait, unless that has begun."""
        seconds = conf.BAZIS_WS_AUTH_TIMEOUT
        if self._has_token:
            self._seconds_left = seconds if self._seconds_left is None else self._seconds_left
        elif self._timer is None:
            self._run(seconds)

    def stop(self) -> float | None:
        """Wait no longer; return the seconds that were left, if it was waited for something."""
        timer, self._timer = self._timer, None
        if timer is None:
            return None
        timer.cancel()
        current_lobby().leave(self)
        return max(0.0, timer.when() - asyncio.get_running_loop().time())

    @contextlib.contextmanager
    def token_in_hand(self) -> Iterator[None]:
        """Let no time run out while the server has a token that it has not looked at."""
        self._seconds_left = self.stop()
        self._has_token = True
        try:
            yield
        finally:
            self._has_token = False
            if self._seconds_left is not None and not self._is_live():
                self._run(self._seconds_left)

    def give_way(self, *, to_address: bool) -> None:
        """Close, for others wait for a token too, and this one has waited longest."""
        if self.stop() is None:
            return
        code, close = "server_busy", protocol.CLOSE_GOING_DOWN
        if to_address:
            code, close = "too_many_connections", protocol.CLOSE_TOO_MUCH
        detail = "Too many connections without a token"
        retry_after = None if to_address else round(random.uniform(1, 5), 1)
        self._tasks.spawn(self._line.fail(code, detail, close, retry_after))

    def _run(self, seconds: float) -> None:
        if not self._line.is_closing:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._timed_out)
            current_lobby().enter(self, address_of(self._scope))

    def _timed_out(self) -> None:
        self.stop()
        detail = "No valid token within the time"
        self._tasks.spawn(self._line.fail("auth_timeout", detail, protocol.CLOSE_AUTH))
