"""Django's own sessions, on whose cookies sockets may be opened."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.db.models import ForeignKey
from django.utils import timezone

__all__ = ["DjangoSession", "end_sessions_of", "living", "read"]

logger = logging.getLogger("bazis_ws_channels")


@dataclass(frozen=True, slots=True)
class DjangoSession:
    """A Django session on whose cookie a socket was opened.

    Attributes:
        key: its session key, a secret; empty where the engine can't look a session up.
        expires_at: seconds since the epoch; None if the engine doesn't tell.
    """

    key: str = field(repr=False)
    expires_at: float | None


def read(session: Any) -> DjangoSession | None:
    """Return what is known of a session that Django has loaded; None if it has ended since.

    One question to the session engine.
    """
    if not _can_look():
        return DjangoSession("", time.time() + session.get_expiry_age())
    key = session.session_key
    found = living([key])
    if key not in found:
        return None
    expires_at = found[key]
    if expires_at is None:
        expires_at = time.time() + session.get_expiry_age()
    return DjangoSession(key, expires_at)


def living(keys: Iterable[str]) -> dict[str, float | None]:
    """Return the sessions that have not ended, with their expiry (seconds since the epoch, None if
    the engine doesn't tell).

    One query where sessions are in the database (``db``, ``cached_db``); one look for each session
    with other engines.
    """
    keys, store = list(keys), _engine()
    if not keys:
        return {}
    if issubclass(store, DatabaseStore):
        rows = store.get_model_class()._base_manager.filter(
            session_key__in=keys, expire_date__gt=timezone.now()
        )
        return {key: at.timestamp() for key, at in rows.values_list("session_key", "expire_date")}
    return {key: None for key in keys if store(key).exists(key)}


def end_sessions_of(user: Any) -> bool:
    """Delete the Django sessions of a user (an instance or a primary key), so that no browser
    stays signed in; False where the engine can't find them: ``cache``, ``file`` and
    ``signed_cookies`` don't know whose their sessions are.

    A session model with a foreign key to the user is asked for the user's; Django's own has none,
    and every session that has not expired is read.
    """
    store = _engine()
    if not issubclass(store, DatabaseStore):
        logger.warning(
            "Django sessions can't be ended: SESSION_ENGINE = %r can't find a user's sessions.",
            settings.SESSION_ENGINE,
        )
        return False
    model, users = store.get_model_class(), get_user_model()
    pk = getattr(user, "pk", user)
    rows = model._base_manager.filter(expire_date__gt=timezone.now())
    owners = [
        each.name
        for each in model._meta.get_fields()
        if isinstance(each, ForeignKey) and each.related_model is users
    ]
    if owners:
        rows, wanted = rows.filter(**{owners[0]: pk}), None
    else:
        wanted = users._meta.pk.value_to_string(users(pk=pk))
    for row in rows.iterator(chunk_size=1000):
        if wanted is None or str(row.get_decoded().get(SESSION_KEY)) == wanted:
            store(row.session_key).delete()  # from the cache too, where there is one
    return True


def _engine() -> type[SessionBase]:
    return import_module(settings.SESSION_ENGINE).SessionStore


def _can_look() -> bool:
    """Tell whether a session can be looked up at all."""
    return not issubclass(_engine(), CookieStore)
