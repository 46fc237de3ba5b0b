"""Messages of one host, from the links that read them to their recipients."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ..loops import Turn

__all__ = ["Arrivals", "Deliver"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Awaited with a channel's name and its messages as Redis sent them, in order.
Deliver = Callable[[str, Sequence[bytes]], Awaitable[None]]

#: Messages and bytes that may wait here; the rest is left unread, and waits at Redis.
_MOST_MESSAGES = 100
_MOST_BYTES = 1024 * 1024


class Arrivals:
    """Hands messages out in order. Consecutive messages of one channel are one delivery.

    The more messages have come, the cheaper each is, because those that came during one delivery
    share the next. A message that was read is delivered, even if its connection has ended since, or
    its channel has moved to another node, whose messages come after it.

    Args:
        deliver: hands messages out.
        failed: called with the channel's name after a delivery has failed and was logged.
    """

    def __init__(self, deliver: Deliver, failed: Callable[[str], None]) -> None:
        self._deliver = deliver
        self._failed = failed
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._has_room = asyncio.Event()

    async def add(self, channel: str, payload: bytes) -> None:
        """Queue a message for delivery, then wait for room if the queue is full."""
        self._waiting.append((channel, payload))
        self._bytes += len(payload)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hand_out())
        while len(self._waiting) >= _MOST_MESSAGES or self._bytes >= _MOST_BYTES:
            self._has_room.clear()
            await self._has_room.wait()

    def forget(self, channel: str) -> None:
        """Drop what is waiting of a channel: those that it was for have left."""
        kept = [each for each in self._waiting if each[0] != channel]
        if len(kept) < len(self._waiting):
            self._waiting = deque(kept)
            self._bytes = sum(len(payload) for _, payload in kept)
            self._has_room.set()

    async def stop(self) -> None:
        """Drop the messages that wait, and cancel the delivery under way."""
        self._waiting.clear()
        self._bytes = 0
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _hand_out(self) -> None:
        turn = Turn()
        while self._waiting:
            channel, payloads = self._next()
            try:
                await self._deliver(channel, payloads)
            except Exception:
                logger.exception("Messages could not be handed out.")
                self._failed(channel)
            if turn.is_over:
                await turn.end()

    def _next(self) -> tuple[str, list[bytes]]:
        """Return the next messages that follow one another on one channel."""
        waiting, payloads = self._waiting, list[bytes]()
        channel = waiting[0][0]
        while waiting and waiting[0][0] == channel:
            payloads.append(waiting.popleft()[1])
            self._bytes -= len(payloads[-1])
        self._has_room.set()
        return channel, payloads
