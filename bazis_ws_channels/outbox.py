"""What goes out to one client: in order, without waiting, and with bounded memory.

ASGI's `send` promises to wait while a client doesn't read, but daphne's never does: its
transport's buffer grows without end. So under daphne frames go to that transport, framed once
for all recipients of a broadcast, and Twisted tells when it is full (`IPushProducer`). Under other
servers a task awaits `send`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any

from asgiref.typing import ASGISendCallable
from autobahn.websocket.protocol import PreparedMessage
from channels.sessions import InstanceSessionWrapper
from twisted.internet.tcp import Connection as TCPConnection

from .conf import conf

__all__ = ["Outbox", "make_outbox"]

Close = Callable[[], None]

#: Seconds that a client has to take what is pending, and then the close frame.
_CLOSE_SECONDS = 1.0


class Outbox:
    """Frames for one client.

    Args:
        send: the server's ASGI `send`.
        on_overflow: called once when over ``BAZIS_WS_SEND_BUFFER_BYTES`` wait for a client that
            doesn't read.
    """

    __slots__ = ("_bytes", "_closed", "_on_overflow", "_pending", "_send", "_task", "_wakeup")

    def __init__(self, send: Callable[[Any], Awaitable[None]], on_overflow: Close) -> None:
        self._send = send
        self._on_overflow = on_overflow
        self._pending: deque[str | bytes] = deque()
        self._bytes = 0
        self._closed = False
        self._wakeup: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def push(self, frame: str | bytes) -> None:
        """Send a text or binary frame after those before it; silence once closed."""
        if self._closed:
            return
        self._enqueue(frame)
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        elif self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def close(self, code: int) -> None:
        """Send what is pending, if the client takes it, then the close frame. Call it once."""
        self._closed = True
        if self._task is not None:
            await self._finish(self._task)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code})
        except TimeoutError:
            _abort(self._send)

    def abandon(self) -> None:
        """Drop everything: the connection is gone."""
        self._closed = True
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()

    def _enqueue(self, frame: str | bytes) -> None:
        # One frame may be over the limit alone, or a client could never get it.
        if self._bytes > conf.BAZIS_WS_SEND_BUFFER_BYTES:
            self._overflow()
        else:
            self._pending.append(frame)
            self._bytes += len(frame)

    def _overflow(self) -> None:
        self._closed = True
        self._pending.clear()
        self._on_overflow()

    async def _finish(self, drain: asyncio.Task[None]) -> None:
        """Give the drain a moment to send what is pending."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
        await asyncio.wait({drain}, timeout=_CLOSE_SECONDS)
        drain.cancel()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._pending:
                frame = self._pending.popleft()
                kind = "text" if isinstance(frame, str) else "bytes"
                try:
                    await self._send({"type": "websocket.send", kind: frame})
                except Exception:
                    # The server says in its own words that the client is gone; `receive` will.
                    return self.abandon()
                self._bytes -= len(frame)
            if self._closed:
                return
            self._wakeup = loop.create_future()
            await self._wakeup


class DaphneOutbox(Outbox):
    """Frames for one client of daphne, written to its transport without a hop."""

    __slots__ = ("_is_plain_tcp", "_paused", "_protocol")

    def __init__(
        self, send: Callable[[Any], Awaitable[None]], on_overflow: Close, protocol: Any
    ) -> None:
        super().__init__(send, on_overflow)
        self._protocol = protocol
        self._paused = False
        self._is_plain_tcp = isinstance(protocol.transport, TCPConnection)
        # Twisted's HTTP channel, done with this connection, is still registered.
        protocol.transport.unregisterProducer()
        protocol.transport.registerProducer(self, True)

    def push(self, frame: str | bytes) -> None:
        """Write a frame, or keep it while the transport is full."""
        if self._closed:
            return
        if self._paused:
            self._enqueue(frame)
        else:
            self._write(frame)

    async def close(self, code: int) -> None:
        """Write the close frame behind what the transport holds.

        What waits for a full transport is dropped: the client isn't reading, and autobahn cuts
        the connection a second after a close frame that isn't answered.
        """
        self._closed = True
        self._pending.clear()
        self._detach()
        await self._send({"type": "websocket.close", "code": code})

    def abandon(self) -> None:
        """Drop everything: the connection is gone."""
        super().abandon()
        self._detach()

    def _write(self, frame: str | bytes) -> None:
        """Write to the transport, not by autobahn's `sendPreparedMessage`: that formats a line of
        debug log for each frame, logged or not, which costs more than the rest of a delivery.
        """
        protocol, data = self._protocol, _framed(frame)
        if protocol.state != protocol.STATE_OPEN:
            return
        transport = protocol.transport
        if self._is_plain_tcp and _is_drained(transport):
            # Give the socket what it takes at once, as asyncio does. Twisted would first ask the
            # selector whether it may, then tell it that it is done: two system calls a frame.
            written = transport.writeSomeData(data)
            if written == len(data):
                return
            if isinstance(written, int):  # else it is the error, which `write` meets too
                data = data[written:]
        transport.write(data)

    def _detach(self) -> None:
        """Stop hearing of the transport: with a paused producer it would never close."""
        transport = self._protocol.transport
        if transport is not None:
            transport.unregisterProducer()

    # --- IPushProducer ----------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Twisted: the transport holds over 64 KiB."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Twisted: the transport is empty."""
        self._paused = False
        if getattr(self._protocol.transport, "disconnecting", False):
            return self._detach()
        while self._pending and not self._paused:
            frame = self._pending.popleft()
            self._bytes -= len(frame)
            self._write(frame)

    def stopProducing(self) -> None:
        """Twisted: the connection is gone."""
        self._closed = True
        self._pending.clear()


def make_outbox(send: ASGISendCallable, on_overflow: Close) -> Outbox:
    """Return the outbox that suits the server whose `send` this is; call it once accepted."""
    protocol = _daphne_protocol(send)
    if protocol is not None and protocol.transport is not None:
        return DaphneOutbox(send, on_overflow, protocol)  # type: ignore[arg-type]
    return Outbox(send, on_overflow)  # type: ignore[arg-type]


def _daphne_protocol(send: Any) -> Any | None:
    """Return daphne's WebSocket protocol if `send` is daphne's own, not wrapped by strangers."""
    module = sys.modules.get("daphne.ws_protocol")
    send = _below_sessions(send)
    if module is None or not isinstance(send, partial) or not send.args:
        return None
    protocol = send.args[0]
    return protocol if isinstance(protocol, module.WebSocketProtocol) else None


def _below_sessions(send: Any) -> Any:
    """Return what channels' session middleware wraps: it does nothing to a WebSocket's frames."""
    while isinstance(wrapper := getattr(send, "__self__", None), InstanceSessionWrapper):
        send = wrapper.real_send
    return send


def _abort(send: Any) -> None:
    """Cut a connection whose client doesn't read, for which ASGI has no message.

    uvicorn's `send`, a method of its protocol, waits until the client reads, even for a close.
    """
    transport = getattr(getattr(_below_sessions(send), "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


def _is_drained(transport: Any) -> bool:
    """Tell whether nothing waits in Twisted's buffers, so that a frame may pass them by."""
    return (
        transport.connected
        and not transport._tempDataLen
        and transport.offset == len(transport.dataBuffer)
    )


def _framed(frame: str | bytes) -> bytes:
    """Frame a message (RFC 6455, section 5.2), once for the many who get the same."""
    return _framed_small(frame) if len(frame) <= 16384 else _frame(frame)


@lru_cache(maxsize=64)
def _framed_small(frame: str | bytes) -> bytes:
    return _frame(frame)


def _frame(frame: str | bytes) -> bytes:
    payload = frame.encode() if isinstance(frame, str) else frame
    is_binary = isinstance(frame, bytes)
    message = PreparedMessage(payload, is_binary, applyMask=False, doNotCompress=True)
    return message.payloadHybi
