"""Code that daphne and Twisted need.

daphne's `send` never waits, and its transport's buffer grows without limit. So frames are written
to that transport directly, framed once for all recipients of a broadcast, and Twisted reports when
it is full (`IPushProducer`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any

from autobahn.websocket.protocol import PreparedMessage
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.threadable import isInIOThread

from ..parcels import Frames
from ..types import Send
from .writer import Writer

__all__ = ["DaphneWriter", "answer_at_once", "on_stop", "protocol_of"]

logger = logging.getLogger("bazis_ws_channels")

#: Seconds that clean-up may hold up the end of the server.
_STOP_SECONDS = 8.0
#: Attributes of a plain TCP transport that are needed to write a frame to the socket at once. The
#: last is private. Without them frames go through the transport's `write`, which is slower.
_NEEDED = ("connected", "socket", "dataBuffer", "offset", "_tempDataLen")


class DaphneWriter(Writer):
    """Writes frames for one client of daphne to its transport directly."""

    def __init__(self, send: Send, on_overflow: Callable[[], None], protocol: Any) -> None:
        super().__init__(send, on_overflow)
        self._protocol = protocol
        self._is_paused = False
        self._is_direct = _takes_frames_at_once(protocol.transport)
        # Twisted's HTTP channel is still registered, though it is done with this connection.
        protocol.transport.unregisterProducer()
        protocol.transport.registerProducer(self, True)

    @property
    def is_full(self) -> bool:
        """Whether Twisted holds all that it takes."""
        return self._is_paused

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return bool(self._protocol.state == self._protocol.STATE_CLOSED)

    def write(self, frame: str | bytes) -> None:
        """Write a frame, or queue it while the transport is full."""
        if self._closed:
            return
        if self._is_paused:
            self._enqueue(frame)
        else:
            self._write(_framed(frame))

    def write_all(self, frames: Frames) -> None:
        """Write frames that other clients get too with one system call, or queue them."""
        if self._closed or self._is_paused:
            return super().write_all(frames)
        if frames.wire is None:
            frames.wire = b"".join(map(_framed, frames.texts))
        self._write(frames.wire)

    async def close(self, code: int) -> None:
        """Write the close frame behind the transport's pending data.

        Frames queued for a full transport are dropped: the client isn't reading, and autobahn cuts
        the connection a second after a close frame that isn't answered.
        """
        self._closed = True
        self._pending.clear()
        self._detach()
        await self._send({"type": "websocket.close", "code": code})
        transport = self._protocol.transport
        if self._is_direct and transport is not None and transport.connected:
            # Where this loop is behind, autobahn would cut the connection before Twisted's turn to
            # write comes.
            transport.doWrite()

    def abandon(self) -> None:
        """Drop everything: the connection is gone."""
        super().abandon()
        self._detach()

    def _write(self, data: bytes) -> None:
        """Write to the transport. autobahn's `sendPreparedMessage` would format a debug log line
        for each frame, logged or not, which costs more than the rest of a delivery.
        """
        protocol = self._protocol
        if protocol.state != protocol.STATE_OPEN:
            return
        transport = protocol.transport
        if self._is_direct and _is_drained(transport):
            # Write to the socket at once, as asyncio does. Twisted would register with the selector
            # first and unregister afterwards: two more system calls for each frame.
            try:
                written = transport.socket.send(data)
            except OSError:
                written = 0  # the buffer is full, or the connection is lost, as `write` finds too
            if written == len(data):
                return
            data = data[written:]
        transport.write(data)

    def _detach(self) -> None:
        """Unregister from the transport: with a paused producer it would never close."""
        transport = self._protocol.transport
        if transport is not None:
            transport.unregisterProducer()

    # --- IPushProducer ----------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Called by Twisted when the transport holds over 64 KiB."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Called by Twisted when the transport is empty."""
        self._is_paused = False
        if getattr(self._protocol.transport, "disconnecting", False):
            return self._detach()
        while self._pending and not self._is_paused:
            frame = self._pending.popleft()
            self._bytes -= len(frame)
            self._write(_framed(frame))

    def stopProducing(self) -> None:
        """Called by Twisted when the connection is gone."""
        self._closed = True
        self._pending.clear()


def protocol_of(send: Any) -> Any | None:
    """Return daphne's WebSocket protocol, if `send` is daphne's own and the connection is open;
    None if some middleware wraps it.
    """
    if not isinstance(send, partial) or not send.args:
        return None
    protocol = send.args[0]
    if not isinstance(protocol, WebSocketProtocol) or protocol.transport is None:
        return None
    return protocol


def answer_at_once(transport: Any) -> None:
    """Let what is written first, the answer to a handshake, go to the socket at once, as frames do
    (`DaphneWriter`): it saves two system calls and a turn of the loop for each connection.
    """
    if not _takes_frames_at_once(transport):
        return
    write = transport.write

    def write_first(data: bytes) -> None:
        del transport.write
        written = 0
        if _is_drained(transport):
            with contextlib.suppress(OSError):  # which `write` meets too
                written = transport.socket.send(data)
        if written < len(data):
            write(data[written:])

    transport.write = write_first


def on_stop(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback` before Twisted's reactor ends, if it runs this event loop. From then on the
    process takes no connections: clients come back at once, and are to meet another process.

    daphne cancels its applications on SIGTERM, unless a WebSocket handshake happened within the
    last second: then a KeyError skips it. Twisted's own trigger always runs.
    """
    from twisted.internet import reactor

    if not getattr(reactor, "running", False) or not isInIOThread():
        return

    async def limited(stopping: Awaitable[None]) -> None:
        async with asyncio.timeout(_STOP_SECONDS):
            await stopping

    def trigger() -> Any:
        for reader in reactor.getReaders():  # type: ignore[attr-defined]
            if IListeningPort.providedBy(reader):
                reader.stopListening()
        deferred = Deferred.fromFuture(asyncio.ensure_future(limited(callback())))
        deferred.addErrback(lambda failure: logger.warning("The end was cut short: %r", failure))
        return deferred

    reactor.addSystemEventTrigger("before", "shutdown", trigger)  # type: ignore[attr-defined]


def _takes_frames_at_once(transport: Any) -> bool:
    """Tell whether frames may be written to the socket at once."""
    kind = type(transport)
    if kind not in _direct:
        _direct[kind] = isinstance(transport, TCPConnection) and _has_needed(transport)
    return _direct[kind]


#: Whether it may, for each class of transport; found at its first connection.
_direct: dict[type[Any], bool] = {}


def _has_needed(transport: Any) -> bool:
    missing = [name for name in _NEEDED if not hasattr(transport, name)]
    if missing:
        logger.warning(
            "Twisted's %s has no %s (any more): frames go the slower public way.",
            type(transport).__name__,
            ", ".join(missing),
        )
    return not missing


def _is_drained(transport: Any) -> bool:
    """Tell whether Twisted's buffers are empty, so that a frame may bypass them."""
    return (
        transport.connected
        and not transport._tempDataLen
        and transport.offset == len(transport.dataBuffer)
    )


def _framed(frame: str | bytes) -> bytes:
    """Frame a message (RFC 6455, section 5.2), once for all recipients of the same text."""
    return _framed_small(frame) if len(frame) <= 16384 else _frame(frame)


@lru_cache(maxsize=64)
def _framed_small(frame: str | bytes) -> bytes:
    return _frame(frame)


def _frame(frame: str | bytes) -> bytes:
    payload = frame.encode() if isinstance(frame, str) else frame
    is_binary = isinstance(frame, bytes)
    message = PreparedMessage(payload, is_binary, applyMask=False, doNotCompress=True)
    return message.payloadHybi
