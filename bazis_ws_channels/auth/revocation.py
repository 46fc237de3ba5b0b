"""Ending a user's sessions from the server, on every process, and keeping the door shut."""

from __future__ import annotations

import math
import time
from typing import Any

from channels.db import database_sync_to_async

from .. import sending
from ..conf import conf
from ..exceptions import AuthenticationFailed, TokenError
from ..groups import key_group
from ..presence.queries import acount_by_key, count_by_key
from ..presence.stores import get_store
from ..presence.stores.base import RevokeBefore, RevokeToken
from ..times import microseconds
from ..types import GroupMessage
from ..users import in_space, key_of, pk_of
from . import tokens
from .identity import identify

__all__ = [
    "adisconnect",
    "arevoke_before",
    "arevoke_token",
    "disconnect",
    "disconnect_key",
    "revoke_before",
    "revoke_token",
]

_DETAILS = {"logged_out": "The server ended the session"}


def disconnect(user: Any, code: str = "logged_out", *, revoke: bool = True) -> int:
    """End all sessions of `user`: each connection gets the error `code` and closes with 4401.

    Args:
        user: an instance or a primary key.
        revoke: also refuse, from now on, every token issued before now (remembered for
            ``BAZIS_WS_REVOCATION_SECONDS``); without it, a client may come back with its token.

    Returns:
        How many connections the user had.

    Raises:
        PublishError, PresenceUnavailable: Redis is out of reach; sessions may go on.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    sending.refuse_on_loop("adisconnect")
    return disconnect_key(_key(user), code, revoke=revoke)


async def adisconnect(user: Any, code: str = "logged_out", *, revoke: bool = True) -> int:
    """Async twin of `disconnect`."""
    key = await in_space(_key, user)
    if revoke:
        await get_store().aask(_before(key, None))
    connections = await acount_by_key([key])
    await sending.asend([_ending(key, code)])
    return connections


def disconnect_key(key: str, code: str = "logged_out", *, revoke: bool = True) -> int:
    """As `disconnect`, of the user with this key."""
    if revoke:
        # Revoke before ending sessions, so that a reconnect in between is refused.
        get_store().ask(_before(key, None))
    connections = count_by_key([key])
    sending.send([_ending(key, code)])
    return connections


def revoke_before(user: Any, moment: float | None = None) -> None:
    """Refuse all tokens of `user` issued before `moment`, and end the sessions opened by them.

    A token without ``iat`` counts as issued before; a Django session goes on, for it has no
    token.

    Args:
        user: an instance or a primary key.
        moment: seconds since the epoch; by default now, by the clock of the presence store.

    Raises:
        PublishError, PresenceUnavailable: Redis is out of reach; sessions may go on.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    sending.refuse_on_loop("arevoke_before")
    key = _key(user)
    before_us = get_store().ask(_before(key, moment))
    sending.send([_ending(key, "logged_out", before=before_us)])


async def arevoke_before(user: Any, moment: float | None = None) -> None:
    """Async twin of `revoke_before`."""
    key = await in_space(_key, user)
    before_us = await get_store().aask(_before(key, moment))
    await sending.asend([_ending(key, "logged_out", before=before_us)])


def revoke_token(token: str) -> None:
    """Refuse this one token until it would have expired, and end the sessions opened by it.

    Raises:
        TokenError: it is not valid, or has no ``jti`` to know it by.
        PublishError, PresenceUnavailable: Redis is out of reach; sessions may go on.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    sending.refuse_on_loop("arevoke_token")
    claims, key = _claims_and_key(token)
    get_store().ask(_void(claims))
    if key is not None:
        sending.send([_ending(key, "logged_out", jti=claims.jti)])


async def arevoke_token(token: str) -> None:
    """Async twin of `revoke_token`."""
    claims, key = await database_sync_to_async(_claims_and_key)(token)
    await get_store().aask(_void(claims))
    if key is not None:
        await sending.asend([_ending(key, "logged_out", jti=claims.jti)])


def _key(user: Any) -> str:
    return key_of(pk_of(user))


def _claims_and_key(token: str) -> tuple[tokens.Claims, str | None]:
    """Return the claims of a token, and whose it is; None if nobody's who could have sessions."""
    claims = tokens.verify(token)
    if claims.jti is None:
        raise TokenError("invalid_token", "A token without jti can't be revoked alone.")
    try:
        return claims, identify(claims).key
    except AuthenticationFailed:
        return claims, None


def _before(key: str, moment: float | None) -> RevokeBefore:
    before_us = None if moment is None else microseconds(moment)
    return RevokeBefore(key, before_us, int(conf.BAZIS_WS_REVOCATION_SECONDS))


def _void(claims: tokens.Claims) -> RevokeToken:
    left = claims.expires_at + conf.BAZIS_WS_JWT_LEEWAY - time.time()
    return RevokeToken(str(claims.jti), max(1, math.ceil(left)))


def _ending(key: str, code: str, **which: Any) -> GroupMessage:
    """Return the message that ends the user's sessions on every process; `which` chooses among
    them, see `Session.is_ended_by`.
    """
    group, detail = key_group(key), _DETAILS.get(code, code)
    return group, {"type": "ws.end", "group": group, "code": code, "detail": detail, **which}
