"""Django's own sessions, on whose cookies sockets may be opened."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey
from django.utils import timezone
from django.utils.crypto import constant_time_compare

__all__ = ["Cookie", "DjangoSession", "end_sessions_of", "living", "owners", "read"]

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


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie of a Django session, which nobody has looked at.

    Attributes:
        key: what it holds, a secret.
    """

    key: str = field(repr=False)


def owners(cookies: Sequence[Cookie]) -> dict[Cookie, tuple[Any, DjangoSession]]:
    """Return whose Django sessions these are, as Django itself finds it, and the sessions; without
    those that sign nobody in.

    Two queries where sessions are in the database and users come from Django's own backend; a look
    for each session, or each user, where an engine or a backend of the project's own decides. The
    sessions are not changed: one that was signed by a former SECRET_KEY is not signed anew.
    """
    contents = dict(_contents(cookies))
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for data, _ in contents.values():
        if (
            SESSION_KEY in data
            and data.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        ):
            wanted[data[BACKEND_SESSION_KEY]].add(str(data[SESSION_KEY]))
    users = {path: _users_of(load_backend(path), texts) for path, texts in wanted.items()}
    found: dict[Cookie, tuple[Any, DjangoSession]] = {}
    for cookie, (data, session) in contents.items():
        known = users.get(str(data.get(BACKEND_SESSION_KEY)), {})
        user = known.get(str(data.get(SESSION_KEY)))
        if user is not None and _is_verified(user, data.get(HASH_SESSION_KEY)):
            found[cookie] = user, session
    return found


def _contents(
    cookies: Sequence[Cookie],
) -> Iterator[tuple[Cookie, tuple[Mapping[str, Any], DjangoSession]]]:
    """Yield what is in those sessions that have not ended."""
    store: Any = _engine()
    # No engine makes others, and a database may refuse them together with their neighbours.
    cookies = [each for each in cookies if each.key.isascii() and each.key.isprintable()]
    if store.load in (DatabaseStore.load, CachedDatabaseStore.load):
        rows = store.get_model_class()._base_manager.filter(
            session_key__in={cookie.key for cookie in cookies}, expire_date__gt=timezone.now()
        )
        for row in rows:
            session = DjangoSession(row.session_key, row.expire_date.timestamp())
            yield Cookie(row.session_key), (row.get_decoded(), session)
        return
    for cookie in cookies:
        loaded = store(cookie.key)
        data = dict(loaded.items())
        if data:
            expires_at = time.time() + loaded.get_expiry_age()
            yield cookie, (data, DjangoSession(cookie.key if _can_look() else "", expires_at))


def _users_of(backend: Any, texts: Iterable[str]) -> dict[str, Any]:
    """Return users by their primary keys as sessions have them."""
    from django.contrib.auth.backends import ModelBackend  # asks for the user model

    model: Any = get_user_model()
    pks: dict[str, Any] = {}
    for text in texts:
        try:
            pks[text] = model._meta.pk.to_python(text)
        except (ValidationError, ValueError, TypeError, OverflowError):
            continue  # the model was another one
    if type(backend).get_user is not ModelBackend.get_user:
        return {text: backend.get_user(pk) for text, pk in pks.items()}
    users = model._default_manager.in_bulk(list(pks.values()))
    may = backend.user_can_authenticate
    return {text: users[pk] for text, pk in pks.items() if pk in users and may(users[pk])}


def _is_verified(user: Any, session_hash: Any) -> bool:
    """Tell whether a session is of the user's present password."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    if not session_hash:
        return False
    return constant_time_compare(session_hash, user.get_session_auth_hash()) or any(
        constant_time_compare(session_hash, each) for each in user.get_session_auth_fallback_hash()
    )


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
