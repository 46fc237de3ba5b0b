"""Values that belong to one event loop and are closed with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from .locks import ProcessLock

__all__ = ["LoopLocal", "Turn"]

T = TypeVar("T")

#: How long a task with much to do keeps the event loop before others run.
_TURN_SECONDS = 0.005


class LoopLocal(Generic[T]):
    """One value for each running event loop, made at its first use and closed with the loop.

    A value is closed when its loop shuts its asynchronous generators down, as `asyncio.run`,
    `async_to_sync` and the ASGI servers do before they close a loop. A loop that is closed
    without that is forgotten when the next loop asks for a value.

    Args:
        make: returns a new value; called on the running loop.
        close: awaited with the value before the loop ends.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._lock = ProcessLock()
        self._values: dict[asyncio.AbstractEventLoop, T] = {}
        self._holders: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self) -> T:
        """Return the running loop's value."""
        loop = asyncio.get_running_loop()
        try:
            return self._values[loop]
        except KeyError:
            return self._add(loop)

    def peek(self) -> T | None:
        """Return the running loop's value if it has been made."""
        return self._values.get(asyncio.get_running_loop())

    def _add(self, loop: asyncio.AbstractEventLoop) -> T:
        value = self._make()
        with self._lock:
            for other in [each for each in self._values if each.is_closed()]:
                self._forget(other)
            self._values[loop] = value
        holder = self._hold(loop, value)
        self._holders[loop] = holder
        try:
            # The first step registers the generator with the running loop, and waits for nothing.
            holder.__anext__().__await__().send(None)
        except StopIteration:
            pass
        return value

    async def _hold(self, loop: asyncio.AbstractEventLoop, value: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._forget(loop)
            if not loop.is_closed():
                await self._close(value)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._values.pop(loop, None)
        self._holders.pop(loop, None)


class Turn:
    """A task's turn on the event loop, which a task with much to do ends now and then."""

    __slots__ = ("_ends_at",)

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + _TURN_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the turn has taken its time, so that the task should `end` it."""
        return time.monotonic() >= self._ends_at

    async def end(self) -> None:
        """Let others run; the next turn begins."""
        await asyncio.sleep(0)
        self._ends_at = time.monotonic() + _TURN_SECONDS
