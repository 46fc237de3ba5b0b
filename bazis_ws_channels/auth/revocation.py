"""End a user's sessions on every process, and void tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from channels.db import database_sync_to_async
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import sending
from ..conf import conf
from ..exceptions import AuthenticationFailed, PresenceUnavailable, PublishError, TokenError
from ..groups import key_group
from ..presence.queries import acount_by_key, count_by_key
from ..presence.stores import get_store
from ..presence.stores.base import RevokeBefore, RevokeToken
from ..times import microseconds
from ..types import GroupMessage
from ..users import in_space, key_of, pk_of
from . import tokens
from .django_sessions import end_sessions_of
from .identity import identify
from .unwritten import unwritten

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


def disconnect(
    user: Any, code: str = "logged_out", *, revoke: bool = True, sessions: bool = False
) -> int:
    """End all sessions of `user`: each connection gets the error `code` and closes with 4401.

    A browser that is signed in to the site by a Django session may come back with its cookie,
    unless `sessions` ends that too.

    Args:
        user: an instance or a primary key.
        revoke: also void every token issued before now, for ``BAZIS_WS_REVOCATION_SECONDS``.
            Without it, a client may come back with its token.
        sessions: also end the user's Django sessions, where their engine can find them: ``db`` and
            ``cached_db`` can, ``cache``, ``file`` and ``signed_cookies`` can't (a warning says so).

    Returns:
        How many connections the user had.

    Raises:
        PublishError, PresenceUnavailable: Redis is out of reach. What is revoked is kept, and
            written by this process when Redis is back.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    sending.refuse_on_loop("adisconnect")
    pk = pk_of(user)
    if sessions:
        # Before the rest, so that no browser comes back in between.
        end_sessions_of(pk)
    return disconnect_key(key_of(pk), code, revoke=revoke)


async def adisconnect(
    user: Any, code: str = "logged_out", *, revoke: bool = True, sessions: bool = False
) -> int:
    """Async twin of `disconnect`."""
    pk = pk_of(user)
    if sessions:
        await database_sync_to_async(end_sessions_of)(pk)
    key = await in_space(key_of, pk)
    before = _before(key, None)
    with _kept_if_it_fails(before if revoke else None, key_group(key)):
        if revoke:
            await get_store().aask(before)
        connections = await acount_by_key([key])
        await sending.asend([_ending(key, code)])
    return connections


def disconnect_key(key: str, code: str = "logged_out", *, revoke: bool = True) -> int:
    """As `disconnect`, of the user with this key."""
    before = _before(key, None)
    with _kept_if_it_fails(before if revoke else None, key_group(key)):
        if revoke:
            # Revoke before ending sessions, so that a reconnect in between is refused.
            get_store().ask(before)
        connections = count_by_key([key])
        sending.send([_ending(key, code)])
    return connections


def revoke_before(user: Any, moment: datetime | float | None = None) -> None:
    """Refuse all tokens of `user` issued before `moment`, and end the sessions opened by them.

    A token without ``iat`` counts as issued before; a Django session goes on, for it has no
    token.

    Args:
        user: an instance or a primary key.
        moment: a datetime (a naive one is of ``TIME_ZONE``), or seconds since the epoch; by default
            now, by the clock of the presence store. Tokens bear the time of the host that issued
            them: if hosts' clocks differ by a second, so does what counts as before.

    Raises:
        PublishError, PresenceUnavailable: Redis is out of reach. The revocation is kept, and
            written by this process when Redis is back.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    sending.refuse_on_loop("arevoke_before")
    key = key_of(pk_of(user))
    question = _before(key, moment, cookies=False)
    with _kept_if_it_fails(question, key_group(key)):
        before_us = get_store().ask(question)
        sending.send([_ending(key, "logged_out", before=before_us)])


async def arevoke_before(user: Any, moment: datetime | float | None = None) -> None:
    """Async twin of `revoke_before`."""
    key = await in_space(key_of, pk_of(user))
    question = _before(key, moment, cookies=False)
    with _kept_if_it_fails(question, key_group(key)):
        before_us = await get_store().aask(question)
        await sending.asend([_ending(key, "logged_out", before=before_us)])


@sensitive_variables()
def revoke_token(token: str) -> None:
    """Refuse this one token until it would have expired, and end the sessions opened by it.

    Raises:
        TokenError: it is not valid, or has no ``jti`` to know it by.
        PublishError, PresenceUnavailable: Redis is out of reach. The revocation is kept, and
            written by this process when Redis is back.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    sending.refuse_on_loop("arevoke_token")
    claims, key = _claims_and_key(token)
    question = _void(claims)
    with _kept_if_it_fails(question, None if key is None else key_group(key)):
        get_store().ask(question)
        if key is not None:
            sending.send([_ending(key, "logged_out", jti=claims.jti)])


@sensitive_variables()
async def arevoke_token(token: str) -> None:
    """Async twin of `revoke_token`."""
    claims, key = await database_sync_to_async(_claims_and_key)(token)
    question = _void(claims)
    with _kept_if_it_fails(question, None if key is None else key_group(key)):
        await get_store().aask(question)
        if key is not None:
            await sending.asend([_ending(key, "logged_out", jti=claims.jti)])


@contextmanager
def _kept_if_it_fails(
    question: RevokeBefore | RevokeToken | None, group: str | None
) -> Iterator[None]:
    """Keep a revocation that can't be written, or not be told, until Redis is back."""
    now_us = microseconds(time.time())
    try:
        yield
    except (PresenceUnavailable, PublishError):
        if isinstance(question, RevokeBefore) and question.before_us is None:
            # Whoever signs in again before Redis is back must not be ended.
            question = replace(question, before_us=now_us)
        if question is not None:
            unwritten.keep(question, group)
        raise


@sensitive_variables()
def _claims_and_key(token: str) -> tuple[tokens.Claims, str | None]:
    """Return the claims of a token, and the primary key of its user, None without such a user."""
    claims = tokens.verify(token)
    if claims.jti is None:
        raise TokenError("invalid_token", "A token without jti can't be revoked alone.")
    try:
        return claims, identify(claims).key
    except AuthenticationFailed:
        return claims, None


def _before(key: str, moment: datetime | float | None, *, cookies: bool = True) -> RevokeBefore:
    if isinstance(moment, datetime):
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment, timezone.get_default_timezone())
        moment = moment.timestamp()
    before_us = None if moment is None else microseconds(moment)
    return RevokeBefore(key, before_us, int(conf.BAZIS_WS_REVOCATION_SECONDS), cookies)


def _void(claims: tokens.Claims) -> RevokeToken:
    left = claims.expires_at + conf.BAZIS_WS_JWT_LEEWAY - time.time()
    return RevokeToken(str(claims.jti), max(1, math.ceil(left)))


def _ending(key: str, code: str, **which: Any) -> GroupMessage:
    """Return the message that ends the user's sessions on every process; `which` chooses among
    them, see `Identity.is_ended_by`.
    """
    group, detail = key_group(key), _DETAILS.get(code, code)
    return group, {"type": "ws.end", "group": group, "code": code, "detail": detail, **which}
