"""Write frames for one client: in order, without waiting, in bounded memory.

ASGI's `send` should wait while a client doesn't read; a task awaits it here. daphne's never waits,
so under daphne frames are written by `servers.daphne`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from channels.sessions import InstanceSessionWrapper

from ..conf import conf
from ..parcels import Frames
from ..types import Send

__all__ = ["Writer", "server_send"]

#: Seconds that a client has to take pending frames, and then the close frame.
_CLOSE_SECONDS = 1.0


class Writer:
    """Writes frames for one client.

    Args:
        send: the server's ASGI `send`.
        on_overflow: called once, when over ``BAZIS_WS_SEND_BUFFER_BYTES`` are pending because the
            client doesn't read.
    """

    def __init__(self, send: Send, on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._pending: deque[str | bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._wakeup: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether frames wait because the client doesn't read."""
        return bool(self._pending)

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended, where the server can tell, else it is closed."""
        return self._closed

    def write(self, frame: str | bytes) -> None:
        """Send a text or binary frame, in order. Does nothing once closed."""
        if self._closed:
            return
        self._enqueue(frame)
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        else:
            self._wake_up()

    def write_all(self, frames: Frames) -> None:
        """Send text frames that other clients get too, in order."""
        for text in frames.texts:
            self.write(text)

    async def close(self, code: int) -> None:
        """Send pending frames, if the client takes them, then the close frame. Call it once."""
        self._closed = True
        if self._task is not None:
            self._wake_up()
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)
            self._task.cancel()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code})
        except TimeoutError:
            self._abort()

    def abandon(self) -> None:
        """Drop pending frames: the connection is gone."""
        self._closed = True
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()

    def _enqueue(self, frame: str | bytes) -> None:
        # A single frame may be over the limit, or it could never be sent.
        if self._bytes > conf.BAZIS_WS_SEND_BUFFER_BYTES:
            self._overflow()
        else:
            self._pending.append(frame)
            self._bytes += len(frame)

    def _overflow(self) -> None:
        self._closed = True
        self._pending.clear()
        self._on_overflow()

    def _wake_up(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _abort(self) -> None:
        """Cut the connection of a client that doesn't read. ASGI has no message for that."""
        if "uvicorn" in sys.modules:
            from .uvicorn import abort

            abort(server_send(self._send))

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._pending:
                frame = self._pending.popleft()
                kind = "text" if isinstance(frame, str) else "bytes"
                try:
                    await self._send({"type": "websocket.send", kind: frame})
                except Exception:
                    # The client is gone. Servers raise various errors; `receive` reports it.
                    return self.abandon()
                self._bytes -= len(frame)
            if self._closed:
                return
            self._wakeup = loop.create_future()
            await self._wakeup


def server_send(send: Any) -> Any:
    """Return the `send` below channels' session middleware, which leaves WebSocket frames as they
    are.
    """
    while isinstance(wrapper := getattr(send, "__self__", None), InstanceSessionWrapper):
        send = wrapper.real_send
    return send
