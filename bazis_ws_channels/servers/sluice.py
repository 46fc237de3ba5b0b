"""A protocol between an asyncio transport and a server's own WebSocket protocol.

Such a protocol parses all that was read, a quarter of a megabyte, before anybody is asked. Here
reads are small, and what comes is passed on in turns, within the client's budget.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..loops import LoopLocal
from .rules import Rules
from .sieve import CLOSE, PING, PONG, Sieve
from .turnstile import current_turnstile

__all__ = ["Sluice", "sluice_of"]

#: What is read at once.
_READ_BYTES = 64 * 1024
#: More than that, come at once, waits for its turn; so much is one step.
_FEW_BYTES, _FEW_FRAMES = 4096, 8
_STEP_BYTES, _STEP_FRAMES = 16 * 1024, 32
#: What a client may send before its socket is accepted: it should send nothing (RFC 6455, section
#: 4.1), and the server parses it.
_EARLY_BYTES = 4096
#: More than a stream holds.
_MUCH = 2**30
#: Seconds until the connection is cut of a client that is being closed for what it sent. It has
#: the close frame by then; the server would wait longer for the answer, which nobody reads.
_CUT_SECONDS = 3.0


class Sluice(asyncio.BufferedProtocol):
    """Passes on what comes, as the server's protocol would have it from the transport.

    Args:
        transport: asyncio's or uvloop's, with TLS or without.
        inner: the server's protocol.

    Attributes:
        is_full: whether the client doesn't read.
        is_open: whether the client is held to rules.
    """

    def __init__(self, transport: Any, inner: Any) -> None:
        self.is_full = False
        self.is_open = False
        self._transport = transport
        self._inner = inner
        self._parse = inner.data_received
        self._buffer = _buffers.get()
        self._sieve = Sieve()
        self._rules: Rules | None = None
        self._early_bytes = 0
        self._held = b""
        self._is_queued = False
        self._is_paused = False
        self._is_stopped = False
        self._cut: asyncio.TimerHandle | None = None

    def open(self, rules: Rules) -> None:
        """Hold the client to its rules from now on."""
        self.is_open = True
        self._rules = rules
        self._sieve.judge = self._judge
        self._read_on()  # where the server has paused it before

    async def look_back(self) -> None:
        """Look at what came before the sluice was there and is not parsed yet: the protocol by
        `websockets.legacy` keeps it in a stream until the socket is accepted. Waits for nothing.
        """
        stream = getattr(self._inner, "reader", None)
        if isinstance(stream, asyncio.StreamReader) and not self._transport.is_closing():
            stream.feed_data(b"\0")  # with something in it, `read` returns at once
            early = (await stream.read(_MUCH))[:-1]
            if early:
                self._take_early(early)

    def taken(self) -> None:
        """Note that the application has an event; pass on more if it has all."""
        sieve = self._sieve
        sieve.take()
        if self._held and sieve.untaken <= 1:
            self._queue_up()

    def stop(self) -> None:
        """Drop what comes, read no more, and cut the connection soon."""
        if not self._is_stopped:
            self._is_stopped = True
            self._held = b""
            self._sieve.forget(_nothing)
            self._cut = asyncio.get_running_loop().call_later(_CUT_SECONDS, self._transport.abort)
        self._pause()

    def detach(self) -> None:
        """Pass on nothing but the close frame: the application has ended."""
        if not self._is_stopped:
            self._sieve.forget(_only_close)
            if self._held:
                self._queue_up()

    # --- the transport's protocol -----------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport puts what it reads next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data = self._buffer[:nbytes].tobytes()
        if not self.is_open:
            self._take_early(data)
        elif self._is_stopped:
            self._pause()
        elif self._held or self._sieve.is_full:
            self._pause()
            self._hold(self._held + data)
        elif nbytes > _FEW_BYTES:
            self._hold(data)  # and read on: as a rule it has its turn before more comes
        elif self._sieve.is_one_message(data):
            self._parse(data)
        else:
            passed, rest = self._sieve.sift(data, _FEW_FRAMES)
            if passed:
                self._parse(passed)
            if rest and not self._is_stopped:
                self._hold(rest)

    def eof_received(self) -> Any:
        """The client sends nothing more."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client doesn't read."""
        self.is_full = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self.is_full = False
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._is_stopped = True
        self._held = b""
        self._sieve.forget(_nothing)
        if self._cut is not None:
            self._cut.cancel()
        self._inner.connection_lost(exc)
        self._inner = self._parse = self._rules = None  # these know us: let nothing be a cycle

    # --- steps ------------------------------------------------------------------------------

    def _take_early(self, data: bytes) -> None:
        """Take what comes before the consumer's budget is known, or for a consumer that is none
        of ours.
        """
        if not _is_accepted(self._inner):
            self._early_bytes += len(data)
            if self._early_bytes > _EARLY_BYTES:
                return self._transport.abort()
            self._sieve.sift(data)
        self._parse(data)

    def _judge(self, opcode: int, length: int) -> bool:
        """Judge a frame by the client's rules."""
        rules = self._rules
        if rules is None:
            return False
        if opcode < CLOSE:
            is_allowed = rules.allow_data(opcode > 0, length)
            if not is_allowed:
                self.stop()
            return is_allowed
        if opcode == PING:
            return rules.allow_ping()
        if opcode == PONG:
            rules.note_pong()  # the server waits for it, however much else was sent
        return True

    def _hold(self, data: bytes) -> None:
        self._held = data
        if not self._sieve.is_full:
            self._queue_up()

    def _queue_up(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            current_turnstile().join(self._pass_some)

    def _pass_some(self) -> bool:
        """Pass on some of what is held. Return whether there is more, and room for it."""
        some, more = self._held[:_STEP_BYTES], self._held[_STEP_BYTES:]
        data, rest = self._sieve.sift(some, _STEP_FRAMES)
        self._held = rest + more
        if self._is_stopped:
            self._held = b""
        elif self._is_paused and not self._held:
            self._read_on()  # first, for the server may pause it again for what comes now
        if data:
            self._pass(data)
        self._is_queued = bool(self._held) and not self._sieve.is_full
        return self._is_queued

    def _pass(self, data: bytes) -> None:
        try:
            self._parse(data)
        except Exception:
            self._transport.abort()  # as the transport itself would do
            raise

    def _pause(self) -> None:
        self._is_paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _read_on(self) -> None:
        self._is_paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()


class _View:
    """The transport as the server's protocol sees it: that needn't pause reading for each message,
    which costs two system calls, for the sluice counts them.
    """

    def __init__(self, transport: Any, sluice: Sluice) -> None:
        self._transport = transport
        self._sluice = sluice

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._transport, name)
        setattr(self, name, value)  # methods; the next time it costs nothing
        return value

    def pause_reading(self) -> None:
        """Read no more, unless the sluice sees to it."""
        if not self._sluice.is_open:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless the sluice sees to it."""
        if not self._sluice.is_open:
            self._transport.resume_reading()


def sluice_of(send: Any) -> Sluice | None:
    """Return the sluice of the connection whose ASGI `send` this is, a method of its protocol;
    put one there if there is none. None where that can't be.
    """
    inner = getattr(send, "__self__", None)
    transport: Any = getattr(inner, "transport", None)
    if not isinstance(inner, asyncio.Protocol) or not hasattr(transport, "get_protocol"):
        return None
    current = transport.get_protocol()
    if isinstance(current, Sluice):
        return current
    if current is not inner or transport.is_closing():
        return None
    sluice, is_reading = Sluice(transport, inner), transport.is_reading()
    if is_reading:
        transport.pause_reading()  # uvloop looks at the kind of protocol when it begins to read
    transport.set_protocol(sluice)
    inner.transport = _View(transport, sluice)
    if is_reading:
        transport.resume_reading()
    return sluice


def _is_accepted(inner: Any) -> bool:
    """Tell whether the socket is accepted, as far as can be seen."""
    event = getattr(inner, "handshake_completed_event", None)
    return bool(event.is_set() if event else getattr(inner, "handshake_complete", True))


def _only_close(opcode: int, length: int) -> bool:
    return opcode == CLOSE


def _nothing(opcode: int, length: int) -> bool:
    return False


def _new_buffer() -> memoryview:
    return memoryview(bytearray(_READ_BYTES))


async def _drop(buffer: memoryview) -> None:
    """Nothing to close."""


#: Of an event loop: what is read into it is copied before anything else is read.
_buffers: LoopLocal[memoryview] = LoopLocal(_new_buffer, _drop)
