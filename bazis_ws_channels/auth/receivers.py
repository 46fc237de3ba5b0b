"""Receivers of Django's signals that end sessions: logout, new password, deactivation, deletion."""

from __future__ import annotations

import copy
import logging
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.signals import request_finished
from django.db import transaction
from django.db.models.signals import post_delete, post_init, post_save

from .. import sending
from ..conf import conf
from ..groups import user_group
from ..users import key_of, pk_of
from .credentials import stamp_of
from .passwords import Saved, remember_password, what_was_saved
from .revocation import disconnect_key
from .unwritten import unwritten

__all__ = ["connect_receivers"]

logger = logging.getLogger("bazis_ws_channels")


def connect_receivers() -> None:
    """Connect Django's signals to the receivers. Each reads its setting when it is called."""
    model = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="bazis_ws_channels.logged_out")
    for sender in apps.get_models():
        if issubclass(sender, model):  # proxies and child models send signals of their own
            post_init.connect(_loaded, sender=sender, dispatch_uid="bazis_ws_channels.loaded")
            post_save.connect(_saved, sender=sender, dispatch_uid="bazis_ws_channels.saved")
            post_delete.connect(_deleted, sender=sender, dispatch_uid="bazis_ws_channels.deleted")
    # Where there is no event loop, endings that could not be written are tried again here.
    request_finished.connect(unwritten.write, dispatch_uid="bazis_ws_channels.unwritten")
    if unwritten.write not in sending.sent_listeners:
        sending.sent_listeners.append(unwritten.write)


def _logged_out(*, user: Any, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_LOGOUT and isinstance(user, get_user_model()):
        _end_after_commit(user, user._state.db)


def _loaded(*, instance: Any, **kwargs: Any) -> None:
    remember_password(instance)


def _saved(
    *, instance: Any, created: bool, raw: bool, update_fields: Any, using: str, **kwargs: Any
) -> None:
    what, former = what_was_saved(instance, update_fields)
    if created or raw:
        return
    inactive = not getattr(instance, "is_active", True) and (
        update_fields is None or "is_active" in update_fields
    )
    changed = what is Saved.CHANGED
    if (changed and conf.BAZIS_WS_END_ON_PASSWORD_CHANGE) or (
        inactive and conf.BAZIS_WS_END_ON_DEACTIVATION
    ):
        _end_after_commit(instance, using)
    elif what is Saved.REHASHED:
        _restamp_after_commit(instance, former, using)


def _deleted(*, instance: Any, using: str, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_DEACTIVATION:
        _end_after_commit(instance, using)


def _end_after_commit(user: Any, using: str | None) -> None:
    key = key_of(pk_of(user))  # now: the commit may come in another namespace
    transaction.on_commit(lambda: _end_quietly(key), using=using)


def _end_quietly(key: str) -> None:
    """End the sessions. Log failures: the logout or the write has already succeeded."""
    try:
        disconnect_key(key)
    except Exception:
        logger.exception(
            "The sessions of user %s could not be ended now; they are when Redis is back.", key
        )


def _restamp_after_commit(user: Any, former: str, using: str) -> None:
    """Tell the user's sessions that the hash was replaced and the password wasn't: where that is
    lost, they end when they are looked at again, as Django's sessions do.
    """
    before = copy.copy(user)
    before.password = former
    event = {"type": "ws.restamp", "group": user_group(pk_of(user))}
    event |= {"old": stamp_of(before), "new": stamp_of(user)}
    transaction.on_commit(lambda: _send_quietly(event), using=using)


def _send_quietly(event: Any) -> None:
    try:
        sending.send([(event["group"], event)])
    except Exception:
        logger.exception("The sessions of a user could not be told of a new hash.")
