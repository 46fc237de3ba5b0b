"""ASGI middleware: JWT authentication and Origin checking."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from channels.middleware import BaseMiddleware
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import parse_cookie
from django.views.decorators.debug import sensitive_variables

from .auth.arrivals import aauthenticate, current_arrivals
from .auth.django_sessions import Cookie
from .auth.identity import Identity, asession_identity
from .counters import counts
from .exceptions import AuthenticationFailed, TokenError
from .origins import Origins
from .protocol import SUBPROTOCOL
from .servers import has_arrived
from .types import Receive, Scope, Send

__all__ = ["JWTAuthMiddleware", "JWTAuthMiddlewareStack", "OriginMiddleware", "tokens_in"]

logger = logging.getLogger("bazis_ws_channels")

#: daphne gives a handshake 5 seconds. When the database is slower, the connection is accepted
#: and the consumer waits for the rest; other consumers see an anonymous user.
_HANDSHAKE_SECONDS = 3.0
#: Where others wait for so long already, it is accepted at once.
_SOON_SECONDS = 0.5

_has_mentioned_cookie = False


class JWTAuthMiddleware(BaseMiddleware):
    """Authenticate a WebSocket handshake by a JSON Web Token.

    Sets ``scope["user"]`` (anonymous without a valid token; the user of an outer
    `AuthMiddlewareStack` if no token was sent) and ``scope["ws_authentication"]`` (an awaitable
    of the identity: None if nothing was sent; raises if the token is bad). Never refuses a
    handshake: the consumer sends the error.

    Args:
        sessions: sign in by the cookie of a Django session, where no token was sent.
    """

    def __init__(self, inner: Any, *, sessions: bool = False) -> None:
        super().__init__(inner)
        self._sessions = sessions

    @sensitive_variables()
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Authenticate, then call the inner application."""
        if scope["type"] != "websocket":
            return await self.inner(scope, receive, send)
        if not await has_arrived(send):
            return None  # it has waited in a storm for longer than its client would
        authentication = asyncio.ensure_future(_authenticate(scope, self._sessions))
        try:
            is_soon = current_arrivals().expected_seconds < _SOON_SECONDS
            await asyncio.wait({authentication}, timeout=_HANDSHAKE_SECONDS if is_soon else 0)
            failed = not authentication.done() or authentication.exception() is not None
            identity = None if failed else authentication.result()
            scope = {
                **scope,
                "user": identity.user if identity else AnonymousUser(),
                "ws_authentication": authentication,
            }
            return await self.inner(scope, receive, send)
        finally:
            authentication.cancel()


class OriginMiddleware(BaseMiddleware):
    """Refuse handshakes from other sites' pages (RFC 6455, section 10.2).

    Browsers always send ``Origin``; clients that don't are no browsers, and pass. With a Django
    session (an outer `AuthMiddlewareStack`'s) the rule is stricter, see `origins`.

    Args:
        sessions: Django sessions sign in without that middleware: the rule is stricter for every
            handshake that brings the cookie of one, and no token.

    Attributes:
        sessions: the same.
    """

    def __init__(self, inner: Any, *, sessions: bool = False) -> None:
        super().__init__(inner)
        self.sessions = sessions
        self._origins = Origins()

    @sensitive_variables()
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Call the inner application if the origin is allowed."""
        if self._origins.are_allowed(scope, by_cookie=_is_by_cookie(scope, self.sessions)):
            return await self.inner(scope, receive, send)
        counts.note_refused("origin")
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": None})  # an HTTP 403


def _is_by_cookie(scope: Scope, sessions: bool) -> bool:
    """Tell whether a Django session would sign the connection in: there is one, and no token."""
    user = scope.get("user")
    is_signed_in = user is not None and user.is_authenticated
    if not is_signed_in and not (sessions and _cookie_in(scope)):
        return False
    try:
        return not tokens_in(scope)
    except ValueError:
        return True


def JWTAuthMiddlewareStack(inner: Any, *, sessions: bool = False) -> Any:
    """Wrap `inner` in the middleware that a WebSocket endpoint of this package needs.

    Args:
        sessions: sign in by the cookie of a Django session too, where no token was sent; no
            `AuthMiddlewareStack` is needed around it. ``scope["session"]`` is not there then.
    """
    return OriginMiddleware(JWTAuthMiddleware(inner, sessions=sessions), sessions=sessions)


@sensitive_variables()
def tokens_in(scope: Scope) -> list[str]:
    """Return the different tokens that a handshake brings, in the order in which they count:
    the ``Authorization`` header, the subprotocol behind ``bazis-ws``, the query string.
    """
    return list(dict.fromkeys(token for token in _offered(scope) if token))


def _offered(scope: Scope) -> Iterable[str]:
    for name, value in scope["headers"]:
        scheme, _, token = value.decode("latin-1").partition(" ")
        if name == b"authorization" and scheme.lower() == "bearer":
            yield token.strip()
    subprotocols = scope.get("subprotocols") or []
    if SUBPROTOCOL in subprotocols:
        yield from (each for each in subprotocols if each != SUBPROTOCOL)
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=100)
    yield from query.get("token", ())


@sensitive_variables()
def _cookie_in(scope: Scope) -> Cookie | None:
    """Return the cookie of a Django session, if the handshake brings one."""
    text = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    key = parse_cookie(text.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    return Cookie(key) if key else None


@sensitive_variables()
async def _authenticate(scope: Scope, sessions: bool = False) -> Identity | None:
    current_arrivals().count_handshake()
    try:
        tokens = tokens_in(scope)
    except ValueError as error:
        raise TokenError("invalid_token", "Invalid token") from error
    if len(tokens) > 1:
        # No honest client does this, and choosing one token would be guessing the user.
        raise AuthenticationFailed("invalid_token", "The handshake brings different tokens")
    if tokens:
        return await aauthenticate(tokens[0])
    if sessions and "user" not in scope:
        cookie = _cookie_in(scope)
        return None if cookie is None else await current_arrivals().find(cookie)
    if "user" not in scope:
        _mention_cookie(scope)
    return await asession_identity(scope.get("user"), scope.get("session"))


def _mention_cookie(scope: Scope) -> None:
    """Log, once, that a session's cookie came where nobody looks at it."""
    global _has_mentioned_cookie
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    if not _has_mentioned_cookie and f"{settings.SESSION_COOKIE_NAME}=".encode() in cookies:
        _has_mentioned_cookie = True
        logger.warning(
            "A WebSocket came with the cookie of a Django session, and without a token. If"
            " sessions are to sign in, write JWTAuthMiddlewareStack(..., sessions=True) in the ASGI"
            " application; else this connection waits for a token. (Said once.)"
        )
