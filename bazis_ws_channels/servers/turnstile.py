"""Work in small steps on what clients send in bulk: a little in each turn of the event loop.

Clients that send a frame now and then are served in between, however many others send more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from ..loops import LoopLocal

__all__ = ["Turnstile", "current_turnstile"]

#: Limits of one turn: its time, and its steps, because a step may cause more work than it does
#: itself: a task that parses, a consumer that answers.
_TURN_SECONDS = 0.01
_TURN_STEPS = 16


class Turnstile:
    """Runs the steps of one event loop in turns.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], bool]] = deque()
        self._is_scheduled = False

    def join(self, step: Callable[[], bool]) -> None:
        """Call `step` when its turn comes, and again, behind all others, while it returns True."""
        self._waiting.append(step)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self._is_scheduled = False
        ends, steps = self._clock() + _TURN_SECONDS, 0
        try:
            while self._waiting and steps < _TURN_STEPS and self._clock() < ends:
                steps += 1
                step = self._waiting.popleft()
                if step():
                    self._waiting.append(step)
        finally:
            if self._waiting:  # also where a step has failed
                self._schedule()


async def _close(turnstile: Turnstile) -> None:
    """Nothing to close."""


_turnstiles: LoopLocal[Turnstile] = LoopLocal(Turnstile, _close)


def current_turnstile() -> Turnstile:
    """Return the running event loop's turnstile."""
    return _turnstiles.get()
