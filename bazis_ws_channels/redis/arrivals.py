"""Messages of one server, between the one who reads them and those they are for."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ..loops import Turn

__all__ = ["Arrivals", "Deliver"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Awaited with a channel's name and its messages, in order.
Deliver = Callable[[str, Sequence[bytes]], Awaitable[None]]

#: Messages and bytes that are read ahead; the rest waits at Redis.
_MOST_MESSAGES = 100
_MOST_BYTES = 1024 * 1024


class Arrivals:
    """Hands messages out in order, those that follow one another on one channel together.

    The more of them have come, the cheaper is each: what came while others were handed out is one
    delivery. The end of a connection doesn't end it: what has come is delivered.

    Args:
        deliver: hands messages out.
        failed: called when that failed, after it was logged.
    """

    def __init__(self, deliver: Deliver, failed: Callable[[], None]) -> None:
        self._deliver = deliver
        self._failed = failed
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def add(self, channel: str, payload: bytes) -> None:
        """Let a message be handed out soon. Waits for that where too many are waiting."""
        self._waiting.append((channel, payload))
        self._bytes += len(payload)
        if self._task is None:
            self._task = asyncio.create_task(self._hand_out())
        if len(self._waiting) >= _MOST_MESSAGES or self._bytes >= _MOST_BYTES:
            await asyncio.wait({self._task})

    def stop(self) -> asyncio.Task[None] | None:
        """Drop what is waiting. Return the task that ends, if there is one."""
        self._waiting.clear()
        self._bytes = 0
        task = self._task
        if task is not None:
            task.cancel()
        return task

    async def _hand_out(self) -> None:
        turn = Turn()
        try:
            while self._waiting:
                try:
                    await self._deliver(*self._next())
                except Exception:
                    logger.exception("Messages could not be handed out.")
                    self._failed()
                if turn.is_over:
                    await turn.end()
        finally:
            self._task = None

    def _next(self) -> tuple[str, list[bytes]]:
        """Return the next messages that follow one another on one channel."""
        waiting, payloads = self._waiting, list[bytes]()
        channel = waiting[0][0]
        while waiting and waiting[0][0] == channel:
            payloads.append(waiting.popleft()[1])
            self._bytes -= len(payloads[-1])
        return channel, payloads
