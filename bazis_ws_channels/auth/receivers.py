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
from .revocation import disconnect

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
