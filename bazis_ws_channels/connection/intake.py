"""Frames of one client, one after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ..servers import make_reader
from ..servers.reader import Reader
from ..types import Event, Receive, Send
from .limits import Limits, Refusal
from .tasks import Tasks

__all__ = ["Intake"]

T = TypeVar("T")

#: Frames that are read while one before them waits.
_AHEAD = 8
#: What a control frame or a fragment costs, in frames.
_CONTROL_COST = 0.5


class Intake:
    """Hands frames over in their order.

    A step that may wait for others' turns (a sign-in) runs `aside`: meanwhile a few frames are
    read ahead, so that the end of the connection is noticed.

    Args:
        receive: the server's ASGI `receive`.
        tasks: those of the connection.
        limits: those of the client.
        handle: awaited with each frame's event.
        fail: tells the client an error code and a detail, and closes with the code given, if any.
    """

    def __init__(
        self,
        receive: Receive,
        tasks: Tasks,
        limits: Limits,
        handle: Callable[[Event], Awaitable[None]],
        fail: Callable[[str, str, int | None], Coroutine[Any, Any, None]],
    ) -> None:
        self._tasks = tasks
        self._limits = limits
        self._handle = handle
        self._fail = fail
        self._reader = Reader(receive)
        self._aside: asyncio.Task[None] | None = None
        self._ahead: deque[Event] = deque()
        self._waiting: asyncio.Future[Any] | None = None
        self._is_gone = False

    def open(self, send: Send, is_full: Callable[[], bool]) -> None:
        """Begin to count what comes, just before the socket is accepted."""
        self._reader = make_reader(send, self._reader.receive, self, is_full)

    def stop(self) -> None:
        """Read nothing more from a client that is being closed for what it sent."""
        self._reader.stop()

    def close(self) -> None:
        """Let go of the connection: it is gone."""
        self._reader.detach()

    async def serve(self) -> int:
        """Hand over what comes until the connection ends; return the close code."""
        receive = self._reader.receive
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                await self._finish()
                return event.get("code") or 1005
            if self._aside is None:
                await self._tasks.guard(self._handle(event))
                continue
            self._ahead.append(event)
            if len(self._ahead) >= _AHEAD:
                await asyncio.wait({self._aside})

    async def aside(self, step: Coroutine[Any, Any, None]) -> None:
        """Begin a step that may wait long; await it if it is part of one already."""
        if self._aside is None:
            self._aside = self._tasks.spawn(self._run(step))
            # A task that is cancelled before it begins never comes to the step.
            self._aside.add_done_callback(lambda _: step.close())
        else:
            await step

    async def unless_gone(self, awaitable: Awaitable[T]) -> T:
        """Await, in a step that runs aside, what nobody needs once the client is gone."""
        self._waiting = waiting = asyncio.ensure_future(awaitable)
        if self._is_gone:  # all came at once: token, frames, end
            waiting.cancel()
        try:
            return await waiting
        finally:
            self._waiting = None

    # --- the client's budget, as the server counts it ----------------------------------------

    def may_send_control(self) -> bool:
        """Take a ping, a pong or a fragment off the allowance; False if it is used up."""
        verdict = self._limits.charge(_CONTROL_COST)
        if isinstance(verdict, Refusal):
            if verdict.close is not None:
                self.stop()
            self._tasks.spawn(self._fail(*verdict))
            return False
        return verdict

    def was_exceeded(self) -> None:
        """Close the connection: a frame is too big, or in too many fragments."""
        self._tasks.spawn(self._fail(*self._limits.too_big()))

    def was_flooded(self) -> None:
        """Close the connection: more frames came at once than its limits let pass."""
        self._tasks.spawn(self._fail(*self._limits.flooded()))

    # --- steps ------------------------------------------------------------------------------

    async def _run(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await self._tasks.guard(step)
            while self._ahead:
                await self._tasks.guard(self._handle(self._ahead.popleft()))
        finally:
            self._aside = None

    async def _finish(self) -> None:
        """Do what was sent before the end, unless it waits for its turn still."""
        self._is_gone = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._aside is not None:
            await asyncio.wait({self._aside})
