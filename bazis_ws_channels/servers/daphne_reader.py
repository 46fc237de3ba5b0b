"""Frames from one client of daphne.

daphne puts all that comes into a queue without end, frames of up to 1 MiB, and autobahn answers
every ping. autobahn's hooks (`IWebSocketChannel`), set on the one protocol, keep all of it within
the client's budget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..conf import conf
from ..types import Event, Receive
from .daphne_options import spare_dump
from .reader import Budget, Reader
from .rules import PAUSE_AT, PAUSE_AT_BYTES, Rules
from .turnstile import current_turnstile

__all__ = ["DaphneReader"]

#: More bytes than that, come at once, wait for their turn; so many are looked at in one step.
_FEW_BYTES = 512
_STEP_BYTES = 4096
_HOOKS = (
    "dataReceived",
    "onMessage",
    "onMessageFrameBegin",
    "onMessageFrameData",
    "onPing",
    "onPong",
)


class DaphneReader(Reader):
    """Counts frames as they come, and pauses the transport while some wait."""

    def __init__(
        self, receive: Receive, budget: Budget, is_full: Callable[[], bool], protocol: Any
    ) -> None:
        super().__init__(receive)
        self._budget = budget
        self._rules = Rules(budget, is_full)
        self._protocol = protocol
        spare_dump(protocol.factory)
        self._queue = protocol.application_queue
        self._pass_on = protocol.onMessage
        self._begin_frame = protocol.onMessageFrameBegin
        self._queued_bytes = 0
        self._is_paused = False
        self._is_stopped = False
        self._parse = protocol.dataReceived
        self._unparsed = b""
        protocol.dataReceived = self._data_received
        protocol.onMessageFrameBegin = self._frame_begins
        protocol.onMessage = self._message
        protocol.onPing = self._ping
        protocol.onPong = self._pong

    async def receive(self) -> Event:
        """Return the next event; read on when there are no more."""
        event = await self._receive()
        if self._is_paused:
            self._read_on()
        return event

    def stop(self) -> None:
        """Drop what comes, and read no more: autobahn cuts the connection in a second."""
        self._is_stopped = True
        self._protocol.onMessageFrameData = _drop
        self._protocol.data = self._unparsed = b""  # thousands of frames, not yet looked at
        self._pause()

    def detach(self) -> None:
        """Take the hooks off."""
        for name in _HOOKS:
            vars(self._protocol).pop(name, None)

    def _pause(self) -> None:
        transport = self._protocol.transport
        if not self._is_paused and transport is not None:
            self._is_paused = True
            transport.pauseProducing()

    def _read_on(self) -> None:
        """Read from the socket again, if all that came from there is with the application."""
        if self._is_stopped or self._unparsed or self._queue.qsize():
            return
        self._is_paused = False
        if self._protocol.transport is not None:
            self._protocol.transport.resumeProducing()

    def _data_received(self, data: bytes) -> None:
        """Twisted: data from the socket."""
        if len(data) <= _FEW_BYTES and not self._unparsed:
            return self._parse(data)
        if not self._unparsed:
            current_turnstile().join(self._parse_some)
        self._unparsed += data
        self._pause()

    def _parse_some(self) -> bool:
        """Let autobahn look at some of what came. Return whether there is more."""
        data, self._unparsed = self._unparsed[:_STEP_BYTES], self._unparsed[_STEP_BYTES:]
        if self._protocol.transport is None:
            self._unparsed = b""  # the connection is gone
        elif data:
            self._parse(data)
        if self._unparsed:
            return True
        self._read_on()
        return False

    # --- autobahn's hooks -------------------------------------------------------------------

    def _frame_begins(self, length: int) -> None:
        """autobahn: a data frame of this length begins."""
        protocol = self._protocol
        is_first = bool(protocol.current_frame.opcode)
        if not self._is_stopped and not self._rules.allow_data(is_first, length):
            self.stop()
        if self._is_stopped:
            protocol.frame_length, protocol.frame_data = length, []
        else:
            self._begin_frame(length)

    def _message(self, payload: bytes, is_binary: bool) -> None:
        """autobahn: a message is complete."""
        if self._is_stopped:
            return
        queued = self._queue.qsize()
        if queued >= 2 * conf.BAZIS_WS_FRAMES_BURST + PAUSE_AT:
            # One read from the socket may hold thousands: more than the limits would let pass.
            self._budget.was_flooded()
            return self.stop()
        self._queued_bytes = len(payload) + (self._queued_bytes if queued else 0)
        self._pass_on(payload, is_binary)
        if queued + 1 >= PAUSE_AT or self._queued_bytes >= PAUSE_AT_BYTES:
            self._pause()

    def _ping(self, payload: bytes) -> None:
        """autobahn: a ping."""
        if not self._is_stopped and self._rules.allow_ping():
            self._protocol.sendPong(payload)

    def _pong(self, payload: bytes) -> None:
        """autobahn: a pong."""
        if not self._is_stopped:
            self._rules.note_pong()


def _drop(payload: bytes) -> None:
    """autobahn: a part of a frame that nobody wants."""
