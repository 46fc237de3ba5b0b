"""Publish JSON to users: from views, signals, commands, Celery tasks; sync or async.

A message is encoded to the text of its WebSocket frame here, once, and travels through
``channel_layer.group_send``. Unless it says ``record=False``, whoever lost the connection gets it
after coming back, within the limits of ``BAZIS_WS_HISTORY_*`` (see docs/delivery.md).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.utils import translation
from django.views.decorators.debug import sensitive_variables

from . import sending
from .auth.anonymous import checked
from .conf import conf
from .exceptions import MessageTooBig, PublishError
from .groups import anonymous_group, anonymous_key, common_group
from .mail import Mail, asend, send
from .protocol import data_frame
from .users import aseveral, in_space, key_of, keys_of_users, pk_of, several

__all__ = [
    "MessageTooBig",
    "PublishError",
    "abroadcast",
    "anotify",
    "apublish",
    "apublish_anonymous",
    "apublish_changed",
    "broadcast",
    "notification",
    "notify",
    "publish",
    "publish_anonymous",
    "publish_changed",
]

#: Characters of an idempotency key.
_LONGEST_KEY = 255


def publish(
    users: Iterable[Any],
    data: Any,
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> int:
    """Hand `data` to every connection of `users` (instances or primary keys).

    Args:
        data: any JSON value; dates, UUIDs, decimals and lazy strings as Django encodes them.
        record: whether the message can be replayed to those who lost the connection; False for
            what is worthless a second later (progress, typing).
        idempotency_key: a name of this very message. The same again within 5 minutes, in a
            retried task say, publishes nothing and returns what the first call did. If that
            failed half-way, whoever did not get the message gets it now.
        on_commit: publish after the current transaction commits. A failure is then logged, not
            raised, because the write is done.
        using: the database whose transaction that is; by default that of the user instances.

    Returns:
        How many connections the users had together; 0 with `on_commit`.

    Raises:
        TypeError: JSON can't hold `data`, or one of `users` is none; the message names what and
            where. Or `idempotency_key` is no string. Nothing was sent.
        ValueError: `idempotency_key` is empty or over 255 characters. Nothing was sent.
        MessageTooBig: it is over ``BAZIS_WS_MAX_MESSAGE_BYTES``. Nothing was sent.
        PublishError: the channel layer is out of reach, or slower than
            ``BAZIS_WS_PUBLISH_TIMEOUT``; some of the users may have got the message.
        SynchronousOnlyOperation: called on an event loop; use `apublish`.
    """
    sending.refuse_on_loop("apublish")
    users, frame = several(users), _frame(data)
    mail = Mail("user", _to_users(users, frame), record, _digest(idempotency_key))
    return send(mail, on_commit, using, users)


async def apublish(
    users: Iterable[Any],
    data: Any,
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> int:
    """Async twin of `publish`."""
    users, frame = await aseveral(users), _frame(data)
    once = await in_space(_digest, idempotency_key)
    mail = Mail("user", await _ato_users(users, frame), record, once)
    return await asend(mail, on_commit, using, users)


def broadcast(
    data: Any,
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """Hand `data` to everybody connected. Takes and raises what `publish` does."""
    sending.refuse_on_loop("abroadcast")
    once, group = _digest(idempotency_key), common_group()
    send(Mail("common", {group: _frame(data)}, record, once), on_commit, using)


async def abroadcast(
    data: Any,
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """Async twin of `broadcast`."""
    once, group = await in_space(_digest, idempotency_key), await in_space(common_group)
    await asend(Mail("common", {group: _frame(data)}, record, once), on_commit, using)


@sensitive_variables()
def publish_anonymous(
    token: str,
    data: Any,
    *,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """Hand `data` to the anonymous sessions of a token, which the client has told you. It can't be
    replayed, and reaches nobody while ``BAZIS_WS_ANONYMOUS`` is off.

    Takes and raises what `publish` does, and `ValueError` for what can't be such a token.
    """
    sending.refuse_on_loop("apublish_anonymous")
    once, group = _digest(idempotency_key), _anonymous_group(token)
    send(Mail("anonymous", {group: _frame(data)}, False, once), on_commit, using)


@sensitive_variables()
async def apublish_anonymous(
    token: str,
    data: Any,
    *,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """Async twin of `publish_anonymous`."""
    once = await in_space(_digest, idempotency_key)
    group = await in_space(_anonymous_group, token)
    await asend(Mail("anonymous", {group: _frame(data)}, False, once), on_commit, using)


def notify(
    users: Iterable[Any],
    build: Callable[[Any], Any],
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> int:
    """Hand each of `users` what `build(user)` returns, built in that user's language.

    The language is `user.ws_language` (see `UserWsMixin`), else ``LANGUAGE_CODE``. Users given by
    primary key are loaded in one query, from the database `using`. Nothing is sent before every
    message is built. Takes, returns and raises what `publish` does, and raises whatever `build`
    raises.
    """
    sending.refuse_on_loop("anotify")
    users = several(users)
    mail = Mail("user", _to_each(users, build, using), record, _digest(idempotency_key))
    return send(mail, on_commit, using, users)


async def anotify(
    users: Iterable[Any],
    build: Callable[[Any], Any],
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> int:
    """Async twin of `notify`; `build` runs in a thread, so it may use the database."""
    users, once = await aseveral(users), await in_space(_digest, idempotency_key)
    mail = Mail("user", await sync_to_async(_to_each)(users, build, using), record, once)
    return await asend(mail, on_commit, using, users)


# --- two messages that front ends share ------------------------------------------------------


def notification(title: Any, text: Any = None, obj: Model | None = None, **extra: Any) -> Any:
    """Return the message that shows a notification, for `notify` or `publish`:
    ``{"action": "notification", "title": ..., "text": ..., "resource": "app.model", "id": "..."}``.

    Args:
        title, text: lazy strings are translated when they are published: by `notify` into each
            user's language.
        obj: what it is about, a saved instance.
        extra: further keys of the message.

    Raises:
        ValueError: `obj` is not saved.
    """
    message = {"action": "notification", "title": title}
    if text is not None:
        message["text"] = text
    return {**message, **(_reference(obj) if obj is not None else {}), **extra}


def publish_changed(obj: Model, users: Iterable[Any] | None = None) -> None:
    """Tell `users`, or everybody, after the commit that an object has changed, so that clients
    load it again: ``{"resource": "app.model", "id": "..."}``.

    Everybody hears of it, whether they may see the object or not: so it says no more than that.
    For one that is deleted, call it before.

    Raises:
        ValueError: `obj` is not saved.
        SynchronousOnlyOperation: called on an event loop; use `apublish_changed`.
    """
    sending.refuse_on_loop("apublish_changed")
    data, using = _reference(obj), obj._state.db
    if users is None:
        broadcast(data, on_commit=True, using=using)
    else:
        publish(users, data, on_commit=True, using=using)


async def apublish_changed(obj: Model, users: Iterable[Any] | None = None) -> None:
    """Async twin of `publish_changed`."""
    data, using = _reference(obj), obj._state.db
    if users is None:
        await abroadcast(data, on_commit=True, using=using)
    else:
        await apublish(users, data, on_commit=True, using=using)


def _reference(obj: Model) -> dict[str, str]:
    """Return what an object is called in a message: as JSON:API does, the id as a string."""
    if not isinstance(obj, Model):
        raise TypeError(f"expected a model instance, got {obj!r:.80}")
    if obj.pk is None or obj._state.adding:
        raise ValueError(f"{obj!r} is not saved, so no client can load it: save it first.")
    return {"resource": obj._meta.label_lower, "id": str(obj.pk)}


# --- messages -------------------------------------------------------------------------------


def _digest(idempotency_key: str | None) -> str | None:
    """Return the short form of an idempotency key of the current namespace."""
    if idempotency_key is None:
        return None
    if not isinstance(idempotency_key, str):
        kind = type(idempotency_key).__name__
        raise TypeError(f"idempotency_key must be a string, got {kind}: {idempotency_key!r:.80}")
    if not 0 < len(idempotency_key) <= _LONGEST_KEY:
        size = len(idempotency_key)
        raise ValueError(f"idempotency_key must have 1 to {_LONGEST_KEY} characters, got {size}.")
    name = f"{conf.namespace}|{idempotency_key}"
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _frame(data: Any) -> str:
    frame = data_frame(data)
    sending.refuse_too_big(frame)
    return frame


def _to_users(users: Sequence[Any], frame: str) -> dict[str, str]:
    return dict.fromkeys(keys_of_users(users), frame)


async def _ato_users(users: Sequence[Any], frame: str) -> dict[str, str]:
    """Async twin of `_to_users`: very many users don't hold the event loop up."""
    frames: dict[str, str] = {}
    for number, some in enumerate(sending.rounds(users)):
        if number:
            await asyncio.sleep(0)
        frames.update(await in_space(_to_users, some, frame))
    return frames


@sensitive_variables()
def _anonymous_group(token: str) -> str:
    return anonymous_group(anonymous_key(checked(token)))


def _to_each(
    users: Sequence[Any], build: Callable[[Any], Any], using: str | None
) -> dict[str, str]:
    frames: dict[str, str] = {}
    for user in _instances(users, using):
        language = getattr(user, "ws_language", None) or settings.LANGUAGE_CODE
        with translation.override(language):
            frames[key_of(pk_of(user))] = _frame(build(user))
    return frames


def _instances(users: Sequence[Any], using: str | None) -> list[Any]:
    """Return `users` as instances; those given by primary key are loaded, if they exist, from a
    database that is named, or the default one.
    """
    pks = {id(user): pk_of(user) for user in users}
    wanted = [pks[id(user)] for user in users if not isinstance(user, Model)]
    loaded = get_user_model()._default_manager.using(using).in_bulk(wanted) if wanted else {}
    found = (user if isinstance(user, Model) else loaded.get(pks[id(user)]) for user in users)
    return [user for user in found if user is not None]
