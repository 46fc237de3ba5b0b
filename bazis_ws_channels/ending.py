"""Ending a user's sessions from the server, on every process, and keeping the door shut."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from channels.db import database_sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from . import presence, publishing, tokens
from .authentication import identify
from .conf import conf
from .exceptions import AuthenticationFailed
from .groups import user_group
from .identity import pk_of
from .presence.store import aask

__all__ = [
    "adisconnect",
    "arevoke_before",
    "arevoke_token",
    "connect_signals",
    "disconnect",
    "revoke_before",
    "revoke_token",
]

logger = logging.getLogger("bazis_ws_channels")

_DETAILS = {"logged_out": "The server ended the session"}


def disconnect(user: Any, code: str = "logged_out", *, revoke: bool = True) -> int:
    """End all sessions of `user`: each connection gets the error `code` and closes with 4401.

    Args:
        revoke: also refuse, from now on, every token issued before now (remembered for
            ``BAZIS_WS_REVOCATION_SECONDS``); without it, a client may come back with its token.

    Returns:
        How many connections the user had.

    Raises:
        PublishError, PresenceUnavailable: Redis is out of reach; sessions may go on.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    return publishing.run_sync("ws_adisconnect", adisconnect(user, code, revoke=revoke))


async def adisconnect(user: Any, code: str = "logged_out", *, revoke: bool = True) -> int:
    """Async twin of `disconnect`."""
    pk = pk_of(user)
    if revoke:
        # First the bolt, then the broom: who comes in between is refused.
        await _refuse_before(pk, time.time())
    connections = await presence.acount([pk])
    await _end(pk, code)
    return connections


def revoke_before(user: Any, moment: float | None = None) -> None:
    """Refuse all tokens of `user` issued before `moment`, and end the sessions opened by them.

    A token without ``iat`` counts as issued before; a Django session goes on, for it has no
    token.

    Args:
        moment: seconds since the epoch; now by default.

    Raises:
        PublishError, PresenceUnavailable: Redis is out of reach; sessions may go on.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    publishing.run_sync("arevoke_before", arevoke_before(user, moment))


async def arevoke_before(user: Any, moment: float | None = None) -> None:
    """Async twin of `revoke_before`."""
    pk = pk_of(user)
    before_us = await _refuse_before(pk, time.time() if moment is None else moment)
    await _end(pk, "logged_out", before=before_us)


def revoke_token(token: str) -> None:
    """Refuse this one token until it would have expired, and end the sessions opened by it.

    Raises:
        TokenError: it is not valid, or has no ``jti`` to know it by.
        PublishError, PresenceUnavailable: Redis is out of reach; sessions may go on.
        SynchronousOnlyOperation: called on an event loop; use the async twin.
    """
    publishing.run_sync("arevoke_token", _revoke_token(*_claims_and_pk(token)))


async def arevoke_token(token: str) -> None:
    """Async twin of `revoke_token`."""
    await _revoke_token(*await database_sync_to_async(_claims_and_pk)(token))


def _claims_and_pk(token: str) -> tuple[tokens.Claims, Any]:
    """Return the claims of a token, and whose it is; None if nobody's who could have sessions."""
    claims = tokens.verify(token)
    if claims.jti is None:
        raise tokens.TokenError("invalid_token", "A token without jti can't be revoked alone.")
    try:
        return claims, identify(claims).user.pk
    except AuthenticationFailed:
        return claims, None


async def _revoke_token(claims: tokens.Claims, pk: Any) -> None:
    left = claims.expires_at + conf.BAZIS_WS_JWT_LEEWAY - time.time()
    await aask("revoke_token", str(claims.jti), max(1, math.ceil(left)))
    if pk is not None:
        await _end(pk, "logged_out", jti=claims.jti)


async def _refuse_before(pk: Any, moment: float) -> int:
    before_us = int(moment * 1_000_000)
    ttl_seconds = int(conf.BAZIS_WS_REVOCATION_SECONDS)
    await aask("revoke_before", str(pk), before_us, ttl_seconds)
    return before_us


async def _end(pk: Any, code: str, **which: Any) -> None:
    """Tell every process to end the user's sessions; `which` is `Session.is_ended_by`'s."""
    group, detail = user_group(pk), _DETAILS.get(code, code)
    event = {"type": "ws.end", "group": group, "code": code, "detail": detail, **which}
    await publishing.group_send([(group, event)])


def connect_signals() -> None:
    """Wire Django's events to the end of sessions; each looks at its setting when it comes."""
    model = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="bazis_ws_channels.logged_out")
    for sender in apps.get_models():
        if issubclass(sender, model):  # a proxy or a child model sends signals of its own
            post_save.connect(_saved, sender=sender, dispatch_uid="bazis_ws_channels.saved")
            post_delete.connect(_deleted, sender=sender, dispatch_uid="bazis_ws_channels.deleted")


def _logged_out(*, user: Any, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_LOGOUT and getattr(user, "pk", None) is not None:
        _end_after_commit(user.pk)


def _saved(
    *, instance: Any, created: bool, raw: bool, update_fields: Any, using: str, **kwargs: Any
) -> None:
    if created or raw:
        return
    saved = (lambda field: True) if update_fields is None else update_fields.__contains__
    # `_password` is what set_password() got, until save() returns; a hash that Django only
    # upgrades at log-in has none.
    changed = getattr(instance, "_password", None) is not None and saved("password")
    inactive = not getattr(instance, "is_active", True) and saved("is_active")
    if (changed and conf.BAZIS_WS_END_ON_PASSWORD_CHANGE) or (
        inactive and conf.BAZIS_WS_END_ON_DEACTIVATION
    ):
        _end_after_commit(instance.pk, using)


def _deleted(*, instance: Any, using: str, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_DEACTIVATION:
        _end_after_commit(instance.pk, using)


def _end_after_commit(pk: Any, using: str | None = None) -> None:
    transaction.on_commit(lambda: _end_quietly(pk), using=using)


def _end_quietly(pk: Any) -> None:
    """End the sessions; what fails is logged, for the log-out or the write is done."""
    try:
        disconnect(pk)
    except Exception:
        logger.exception("The sessions of user %s could not be ended.", pk)
