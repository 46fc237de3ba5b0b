"""A client of the project's ASGI application, in the process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any
from urllib.parse import quote

from channels.routing import get_default_application
from django.core.exceptions import ImproperlyConfigured

from ..auth.tokens import issue
from ..conf import conf
from ..protocol import SUBPROTOCOL
from ..types import ASGIApp, Scope
from .isolation import isolate
from .link import Link

__all__ = ["WsClient"]

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
        token: or the token itself, valid or not; a random one opens an anonymous session, where
            ``BAZIS_WS_ANONYMOUS`` allows those.
        path: the route.
        headers: further ones of the handshake, as text.

    Attributes:
        subscribed: the `subscribed` message; None without a session.
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
        self._application = application
        self._user = user
        self._token = token
        self._path = path
        self._headers = list(headers)
        self._link = Link()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> WsClient:
        self._stack.enter_context(isolate())
        self._stack.push_async_callback(self._link.close)
        try:
            await self._connect()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # --- for tests --------------------------------------------------------------------------

    @property
    def closed_with(self) -> int | None:
        """The code with which the server has closed; None while it is open. 403: it refused."""
        return self._link.closed_with

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All that came, in order."""
        return self._link.messages

    async def send(self, message: Any) -> None:
        """Send an object as JSON; a `str` or `bytes` as it is."""
        self._link.send(message)

    async def receive(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next message, of a type if one is given: others before it are passed by.

        Raises:
            AssertionError: it did not come within a second; says what did.
        """
        passed: list[dict[str, Any]] = []
        expected = "a message" if kind is None else f"a message of type {kind!r}"
        async with self._link.waiting_for(expected, passed):
            while True:
                while self._link.unread:
                    message = self._link.unread.popleft()
                    if kind is None or message.get("type") == kind:
                        return message
                    passed.append(message)
                await self._link.more()
        raise AssertionError  # not reached: the wait ends with an error

    async def receive_data(self) -> Any:
        """Return the next published value; other messages before it are passed by."""
        return (await self.receive("data"))["data"]

    async def receive_nothing(self) -> None:
        """Assert that no further message comes: neither is there one, nor on its way."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self.closed_with is None:
            # A consumer without pings never answers, nor does one that closes meanwhile.
            with suppress(AssertionError):
                await self._ping()
        if self._link.unread:
            raise AssertionError(f"Expected nothing. {self._link.described(self._link.unread)}")

    async def wait_closed(self) -> int:
        """Wait until the server closes the connection; return the code.

        Raises:
            AssertionError: it did not within a second; says what came.
        """
        async with self._link.waiting_for("the server to close"):
            while self._link.closed_with is None:
                await self._link.more()
        return self._link.closed_with or 0

    # --- the connection ---------------------------------------------------------------------

    async def _connect(self) -> None:
        link = self._link
        link.open(self._application or get_default_application(), self._scope())
        async with link.waiting_for("the application to accept the connection"):
            while not link.is_accepted and link.closed_with is None:
                await link.more()
        if self._user is not None or self._token is not None:
            await self._sign_in()

    async def _sign_in(self) -> None:
        """Wait for the answer to the token."""
        answer = await self.receive() if self._link.is_accepted else None
        if answer is not None and answer.get("type") == "subscribed":
            self.subscribed = answer
        elif self._user is not None:
            raise AssertionError(f"{self._user} could not sign in: {answer}.{_hint(answer)}")
        elif answer is not None:
            self._link.unread.appendleft(answer)

    async def _ping(self) -> None:
        """Wait for the answer to a ping, behind which nothing is on its way; then drop it."""
        before = len(self.messages)
        await self.send({"type": "ping"})
        async with self._link.waiting_for("a pong"):
            while _PONG not in self.messages[before:]:
                await self._link.more()
        self._link.unread.remove(_PONG)

    def _scope(self) -> Scope:
        token = self._token
        if token is None and self._user is not None:
            token = _token_for(self._user)
        given = {name.lower() for name, _ in self._headers}
        own = [("host", "testserver"), ("origin", _origin())]
        headers = [pair for pair in own if pair[0] not in given] + self._headers
        return {
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
            "subprotocols": [] if token is None else [SUBPROTOCOL, token],
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }


def _token_for(user: Any) -> str:
    try:
        return issue(user)
    except ImproperlyConfigured as error:
        raise ImproperlyConfigured(
            f"WsClient can't make a token for {user}: {error} In tests, set"
            ' BAZIS_JWT_SESSION_ALG = "HS256" and BAZIS_WS_JWT_KEY = None, or give it a token.'
        ) from error


def _hint(answer: dict[str, Any] | None) -> str:
    """Say what to look at when a user could not sign in."""
    if answer is None:
        return " The handshake was refused: see the Origin, and what wraps the routes."
    if answer.get("code") == "user_not_found":
        return (
            " The application looks for the user in another thread, which doesn't see this test's"
            " transaction: use django_db(transaction=True), or Django's TestCase."
        )
    return ""


def _origin() -> str:
    """Return an origin that the project allows."""
    allowed = conf.BAZIS_WS_ALLOWED_ORIGINS
    if not allowed or "*" in allowed:
        return "http://testserver"
    return str(allowed[0]).replace("://*.", "://www.")
