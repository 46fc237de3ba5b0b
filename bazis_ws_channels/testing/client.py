"""A client of the project's ASGI application, in the process."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

from channels.routing import get_default_application
from django.core.exceptions import ImproperlyConfigured

from ..auth.tokens import issue
from ..conf import conf
from ..protocol import SUBPROTOCOL
from ..types import ASGIApp, Event, Scope
from .isolation import isolate

__all__ = ["WsClient"]

#: Nothing in a process takes so long: a test that waits for what doesn't come fails by then.
_PATIENCE_SECONDS = 1.0
#: Turns of the event loop in which everything that was published reaches the client.
_TURNS = 50
_PONG = {"type": "pong"}


class WsClient:
    """One connection: ``async with WsClient(user=alice) as client``.

    Needs no Redis and no server. With `user` it signs in by itself, and fails if it is refused;
    with `token` it waits for the answer, which `receive` returns if it is an error.

    Args:
        application: an ASGI application; by default that of ``ASGI_APPLICATION``.
        user: who signs in, by a token that `auth.issue` makes.
        token: or the token itself, valid or not.
        path: the route.
        headers: further ones of the handshake, as text.

    Attributes:
        subscribed: the `subscribed` message; None without a session.
        closed_with: the code with which the server has closed; None while it is open.
        messages: all that came, in order.
    """

    def __init__(
        self,
        application: ASGIApp | None = None,
        user: Any = None,
        token: str | None = None,
        *,
        path: str = "/ws",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.subscribed: dict[str, Any] | None = None
        self.closed_with: int | None = None
        self.messages: list[dict[str, Any]] = []
        self._application = application
        self._user = user
        self._token = token
        self._path = path
        self._headers = list(headers)
        self._unread: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._to_server: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Future[Any] | None = None
        self._is_accepted = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> WsClient:
        self._stack.enter_context(isolate())
        try:
            await self._connect()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._task is not None:
                await self._disconnect(self._task)
        finally:
            await self._stack.aclose()

    # --- for tests --------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Send an object as JSON; a `str` or `bytes` as it is."""
        kind = "bytes" if isinstance(message, bytes) else "text"
        frame = message if isinstance(message, str | bytes) else json.dumps(message)
        self._to_server.put_nowait({"type": "websocket.receive", kind: frame})

    async def receive(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next message, of a type if one is given: others before it are passed by.

        Raises:
            AssertionError: it did not come within a second; says what did.
        """
        passed: list[dict[str, Any]] = []
        expected = "a message" if kind is None else f"a message of type {kind!r}"
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    while self._unread:
                        message = self._unread.popleft()
                        if kind is None or message.get("type") == kind:
                            return message
                        passed.append(message)
                    await self._more()
        except (TimeoutError, ConnectionError):
            raise AssertionError(f"Expected {expected}. {self._what_came(passed)}") from None

    async def receive_data(self) -> Any:
        """Return the next published value; other messages before it are passed by."""
        return (await self.receive("data"))["data"]

    async def receive_nothing(self) -> None:
        """Assert that no further message comes: neither is there one, nor on its way."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self.closed_with is None:
            await self._ping()
        if self._unread:
            raise AssertionError(f"Expected nothing. {self._what_came(self._unread)}")

    async def wait_closed(self) -> int:
        """Wait until the server closes the connection; return the code.

        Raises:
            AssertionError: it did not within a second; says what came.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while self.closed_with is None:
                    await self._more()
        except (TimeoutError, ConnectionError):
            if self.closed_with is None:
                what = self._what_came(self._unread)
                raise AssertionError(f"Expected the server to close. {what}") from None
        return self.closed_with

    # --- the connection ---------------------------------------------------------------------

    async def _connect(self) -> None:
        application = self._application or get_default_application()
        scope = await self._scope()
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.ensure_future(application(scope, self._to_server.get, self._take))
        self._task.add_done_callback(lambda task: self._news.set())
        await self._until_accepted()
        if self._user is not None or self._token is not None:
            await self._sign_in()

    async def _scope(self) -> Scope:
        token = self._token
        scope: Scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": self._path,
            "raw_path": quote(self._path).encode(),
            "root_path": "",
            "query_string": b"",
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "subprotocols": [],
            "headers": self._handshake_headers(),
        }
        if token is None and self._user is not None:
            try:
                token = issue(self._user)
            except ImproperlyConfigured as error:
                raise ImproperlyConfigured(
                    f"WsClient can't make a token for {self._user}: {error} In tests, set"
                    ' BAZIS_JWT_SESSION_ALG = "HS256" and BAZIS_WS_JWT_KEY = None, or give it a'
                    " token."
                ) from error
        if token is not None:
            scope["subprotocols"] = [SUBPROTOCOL, token]
        return scope

    def _handshake_headers(self) -> list[tuple[bytes, bytes]]:
        given = {name.lower() for name, _ in self._headers}
        headers = [("host", "testserver"), ("origin", _origin())]
        headers = [pair for pair in headers if pair[0] not in given] + self._headers
        return [(name.lower().encode(), value.encode()) for name, value in headers]

    async def _until_accepted(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not self._is_accepted and self.closed_with is None:
                    await self._more()
        except (TimeoutError, ConnectionError):
            raise AssertionError("The application did not accept the connection.") from None

    async def _sign_in(self) -> None:
        """Wait for the answer to the token."""
        answer = await self.receive() if self._is_accepted else None
        if answer is not None and answer.get("type") == "subscribed":
            self.subscribed = answer
        elif self._user is None:
            if answer is not None:
                self._unread.appendleft(answer)
        else:
            hint = ""
            if answer is None:
                hint = " The handshake was refused: see the Origin, and what wraps the routes."
            elif answer.get("code") == "user_not_found":
                hint = (
                    " The application looks for the user in another thread, which doesn't see this"
                    " test's transaction: use django_db(transaction=True), or Django's TestCase."
                )
            raise AssertionError(f"{self._user} could not sign in: {answer}.{hint}")

    async def _disconnect(self, task: asyncio.Future[Any]) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait({task}, timeout=2 * _PATIENCE_SECONDS)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # a test that waited for something has been told

    async def _take(self, event: Event) -> None:
        """Take what the application sends: ASGI's `send`."""
        if event["type"] == "websocket.accept":
            self._is_accepted = True
        elif event["type"] == "websocket.close" and self.closed_with is None:
            code = event.get("code") or 1000
            self.closed_with = code if self._is_accepted else 403
            self._to_server.put_nowait({"type": "websocket.disconnect", "code": code})
        elif event["type"] == "websocket.send" and self.closed_with is None:
            text = event.get("text")
            message = {"bytes": event["bytes"]} if text is None else json.loads(text)
            self.messages.append(message)
            self._unread.append(message)
        self._news.set()

    async def _more(self) -> None:
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

    async def _ping(self) -> None:
        """Wait for the answer to a ping, behind which nothing is on its way; then drop it."""
        before = len(self.messages)
        await self.send({"type": "ping"})
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while _PONG not in self.messages[before:]:
                    await self._more()
        except (TimeoutError, ConnectionError):
            return  # a consumer without pings, or one that has closed meanwhile
        self._unread.remove(_PONG)

    def _what_came(self, messages: Iterable[dict[str, Any]]) -> str:
        end = "" if self.closed_with is None else f" The server closed with {self.closed_with}."
        lines = [f"  {json.dumps(each, default=repr):.300}" for each in messages]
        if not lines:
            return f"Nothing came.{end}"
        return "\n".join([f"What came:{end}", *lines])


def _origin() -> str:
    """Return an origin that the project allows."""
    allowed = conf.BAZIS_WS_ALLOWED_ORIGINS
    if not allowed or "*" in allowed:
        return "http://testserver"
    return str(allowed[0]).replace("://*.", "://www.")
