"""Django's events that end sessions: a log-out, a new password, a deactivation, a deletion."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from ..conf import conf
from ..users import key_of, pk_of
from .revocation import disconnect_key

__all__ = ["connect_receivers"]

logger = logging.getLogger("bazis_ws_channels")


def connect_receivers() -> None:
    """Wire Django's events to the end of sessions; each looks at its setting when it comes."""
    model = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="bazis_ws_channels.logged_out")
    for sender in apps.get_models():
        if issubclass(sender, model):  # a proxy or a child model sends signals of its own
            post_save.connect(_saved, sender=sender, dispatch_uid="bazis_ws_channels.saved")
            post_delete.connect(_deleted, sender=sender, dispatch_uid="bazis_ws_channels.deleted")


def _logged_out(*, user: Any, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_LOGOUT and isinstance(user, get_user_model()):
        _end_after_commit(user, user._state.db)


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
        _end_after_commit(instance, using)


def _deleted(*, instance: Any, using: str, **kwargs: Any) -> None:
    if conf.BAZIS_WS_END_ON_DEACTIVATION:
        _end_after_commit(instance, using)


def _end_after_commit(user: Any, using: str | None) -> None:
    key = key_of(pk_of(user))  # now: the commit may come in another namespace
    transaction.on_commit(lambda: _end_quietly(key), using=using)


def _end_quietly(key: str) -> None:
    """End the sessions; what fails is logged, for the log-out or the write is done."""
    try:
        disconnect_key(key)
    except Exception:
        logger.exception("The sessions of user %s could not be ended.", key)
