"""The far end of one in-process connection: it runs the application, and keeps what that sends."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..types import ASGIApp, Event, Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["PATIENCE_SECONDS", "Link"]

#: Nothing in a process takes so long: a test that waits for what doesn't come fails by then.
PATIENCE_SECONDS = 1.0


class Link:
    """One connection to an ASGI application.

    Attributes:
        is_accepted: whether the application has accepted it.
        closed_with: the code with which the application has closed; None while it is open.
        messages: all that came, in order.
        unread: what nobody has asked for yet.
    """

    def __init__(self) -> None:
        self.is_accepted = False
        self.closed_with: int | None = None
        self.messages: list[dict[str, Any]] = []
        self.unread: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._to_application: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Future[Any] | None = None

    def open(self, application: ASGIApp, scope: Scope) -> None:
        """Run the application."""
        self._to_application.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.ensure_future(
            application(scope, self._to_application.get, self._take)  # type: ignore[arg-type]
        )
        self._task.add_done_callback(lambda task: self._news.set())

    def send(self, message: Any) -> None:
        """Send an object as JSON; a `str` or `bytes` as it is."""
        kind = "bytes" if isinstance(message, bytes) else "text"
        frame = message if isinstance(message, str | bytes) else json.dumps(message)
        self._to_application.put_nowait({"type": "websocket.receive", kind: frame})

    async def close(self) -> None:
        """Disconnect, and wait until the application is done; cancel one that isn't in time."""
        task = self._task
        if task is None:
            return
        self._to_application.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait({task}, timeout=2 * PATIENCE_SECONDS)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # a test that waited for something has been told

    @asynccontextmanager
    async def waiting_for(
        self, what: str, messages: Iterable[dict[str, Any]] | None = None
    ) -> AsyncIterator[None]:
        """Wait within for what the test expects; say what came if it does not.

        Args:
            messages: what came, by default all that is unread.

        Raises:
            AssertionError: it did not come within a second, or can't any more.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield
        except (TimeoutError, ConnectionError):
            came = self.described(self.unread if messages is None else messages)
            raise AssertionError(f"Expected {what}. {came}") from None

    async def more(self) -> None:
        """Wait until something has happened.

        Raises:
            ConnectionError: nothing more can.
        """
        if self._task is not None and self._task.done() and not self._news.is_set():
            if not self._task.cancelled() and self._task.exception() is not None:
                self._task.result()  # the application's own error says most
            raise ConnectionError
        await self._news.wait()
        self._news.clear()

    def described(self, messages: Iterable[dict[str, Any]]) -> str:
        """Say what came."""
        end = "" if self.closed_with is None else f" The server closed with {self.closed_with}."
        lines = [f"  {json.dumps(each, default=repr):.300}" for each in messages]
        if not lines:
            return f"Nothing came.{end}"
        return "\n".join([f"What came:{end}", *lines])

    async def _take(self, event: Event) -> None:
        """Take what the application sends: ASGI's `send`."""
        if event["type"] == "websocket.accept":
            self.is_accepted = True
        elif event["type"] == "websocket.close" and self.closed_with is None:
            code = event.get("code") or 1000
            self.closed_with = code if self.is_accepted else 403
            self._to_application.put_nowait({"type": "websocket.disconnect", "code": code})
        elif event["type"] == "websocket.send" and self.closed_with is None:
            text = event.get("text")
            message = {"bytes": event["bytes"]} if text is None else json.loads(text)
            self.messages.append(message)
            self.unread.append(message)
        self._news.set()
