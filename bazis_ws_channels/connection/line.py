"""Outgoing frames of one connection, and its closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .. import protocol
from ..counters import counts
from ..parcels import Frames
from ..protocol import error_frame
from ..servers import make_writer
from ..servers.writer import Writer
from ..types import Send
from .tasks import Tasks

__all__ = ["Line"]

#: Seconds for the answer to a close; some servers wait for it for ever.
_ANSWER_SECONDS = 5.0

logger = logging.getLogger("bazis_ws_channels")


class Line:
    """Sends frames to one client, in order and without waiting, up to the close frame.

    Args:
        send: the server's ASGI `send`.
        tasks: the connection's tasks.

    Attributes:
        is_closing: whether nothing more goes out.
        closed_with: the code with which this side has closed; None if it has not.
        on_close: called when the close begins, for a server may report the end much later, or
            never: whoever sits on the connection leaves.
    """

    def __init__(self, send: Send, tasks: Tasks) -> None:
        self.is_closing = False
        self.closed_with: int | None = None
        self.on_close: Callable[[], object] = lambda: None
        self._application = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._is_unanswered = False
        self._send = send
        self._tasks = tasks
        self._writer: Writer | None = None
        self._is_finished = False

    def open(self) -> None:
        """Start sending: the socket is accepted."""
        self._writer = make_writer(self._send, self._overflowed)

    @property
    def is_full(self) -> bool:
        """Whether frames wait because the client doesn't read."""
        return self._writer is not None and self._writer.is_full

    def push(self, frame: str | bytes) -> None:
        """Send a frame in order. Does nothing before `open` and once closing."""
        if self._writer is not None and not self.is_closing:
            self._writer.write(frame)

    def push_all(self, frames: Frames) -> None:
        """Send frames that others get too, in order, as `push` does."""
        if self._writer is not None and not self.is_closing:
            self._writer.write_all(frames)

    async def fail(
        self, code: str, detail: str, close: int | None = None, retry_after: float | None = None
    ) -> None:
        """Send an `error` message, and close the connection where a close code is given."""
        counts.note_refused(code)
        self.push(error_frame(code, detail, retry_after))
        if close is not None:
            await self.close(close)

    async def close(self, code: int) -> None:
        """Close the connection, once."""
        if self._writer is not None and not self.is_closing:
            self.is_closing = True
            self.closed_with = code
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_ANSWER_SECONDS, self._give_up)
            self.on_close()
            await self._writer.close(code)

    @property
    def is_gone(self) -> bool:
        """Whether the client is gone, as far as the server tells, and the session has ended."""
        return self._is_finished and (self._writer is None or self._writer.is_gone)

    def has_given_up(self) -> bool:
        """Tell whether the application was cancelled because nobody answered its close, and by
        nobody else; take the cancellation back then.
        """
        if not self._is_unanswered or self._application is None:
            return False
        return self._application.uncancel() == 0

    async def go_down(self) -> None:
        """Close with 4503, for the server stops."""
        await self.close(protocol.CLOSE_GOING_DOWN)

    def abandon(self) -> None:
        """Drop pending frames: the client is gone."""
        self.is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None:
            self._writer.abandon()

    def finish(self) -> None:
        """Note that nothing of the connection is left."""
        self._is_finished = True

    def _give_up(self) -> None:
        if self._application is not None:
            self._is_unanswered = True
            self._application.cancel()

    def _overflowed(self) -> None:
        guard = self._tasks.guard
        text = "A client that doesn't read was cut off: %s"
        logger.info(text, guard.label(), extra=guard.names())
        self._tasks.spawn(self.close(protocol.CLOSE_TOO_MUCH))
