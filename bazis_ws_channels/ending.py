"""Ending a user's sessions from the server, on every process, and keeping the door shut."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from . import presence, publishing
from .conf import conf
from .groups import user_group
from .identity import pk_of
from .presence.store import aask

__all__ = ["adisconnect", "connect_signals", "disconnect"]

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
    pk, now = pk_of(user), time.time()
    if revoke:
        # First the bolt, then the broom: who comes in between is refused.
        ttl_seconds = int(conf.BAZIS_WS_REVOCATION_SECONDS)
        await aask("revoke_before", str(pk), int(now * 1_000_000), ttl_seconds)
    connections = await presence.acount([pk])
    group = user_group(pk)
    detail = _DETAILS.get(code, code)
    event = {"type": "ws.end", "group": group, "code": code, "detail": detail}
    await publishing.group_send([(group, event)])
    return connections


def connect_signals() -> None:
    """Wire Django's events to the end of sessions; each looks at its setting when it comes."""
    model = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="bazis_ws_channels.logged_out")
    post_save.connect(_saved, sender=model, dispatch_uid="bazis_ws_channels.saved")
    post_delete.connect(_deleted, sender=model, dispatch_uid="bazis_ws_channels.deleted")


def _logged_out(*, user: Any, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_LOGOUT and getattr(user, "pk", None) is not None:
        _end_after_commit(user.pk)


def _saved(*, instance: Any, created: bool, raw: bool, update_fields: Any, **kwargs: Any) -> None:
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
        _end_after_commit(instance.pk)


def _deleted(*, instance: Any, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_DEACTIVATION:
        _end_after_commit(instance.pk)


def _end_after_commit(pk: Any) -> None:
    transaction.on_commit(lambda: _end_quietly(pk))


def _end_quietly(pk: Any) -> None:
    """End the sessions; what fails is logged, for the log-out or the write is done."""
    try:
        disconnect(pk)
    except Exception:
        logger.exception("The sessions of user %s could not be ended.", pk)
