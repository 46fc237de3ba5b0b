"""Publish JSON to users: from views, signals, commands, Celery tasks; sync or async.

A message is encoded to the text of its WebSocket frame here, once, and travels through
``channel_layer.group_send``. Unless it says ``record=False``, whoever lost the connection gets it
after coming back, within the limits of ``BAZIS_WS_HISTORY_*`` (see docs/delivery.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.utils import translation
from django.views.decorators.debug import sensitive_variables

from . import sending
from .auth.anonymous import checked
from .conf import conf
from .exceptions import MessageTooBig, PublishError
from .groups import anonymous_group, anonymous_key, common_group, key_group
from .presence.queries import acount_quietly, count_command, count_from, count_quietly
from .protocol import data_frame
from .types import GroupMessage
from .users import aseveral, in_space, key_of, keys_of, pk_of, pks_of, several

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

logger = logging.getLogger("bazis_ws_channels")

#: Characters of an idempotency key.
_LONGEST_KEY = 255

#: A message to each user, by key; or to everybody, or to an anonymous session, by None.
Addressed = tuple[str | None, GroupMessage]


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
    users, once = several(users), _digest(idempotency_key)
    messages = _to_users(users, data_frame(data), record, once)
    return _send(messages, once, on_commit, using or _database_of(users))


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
    users, once = await aseveral(users), await in_space(_digest, idempotency_key)
    messages = await _ato_users(users, data_frame(data), record, once)
    return await _asend(messages, once, on_commit, using or _database_of(users))


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
    once = _digest(idempotency_key)
    _send([_to_everybody(data, record, once)], once, on_commit, using)


async def abroadcast(
    data: Any,
    *,
    record: bool = True,
    idempotency_key: str | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """Async twin of `broadcast`."""
    once = await in_space(_digest, idempotency_key)
    message = await in_space(_to_everybody, data, record, once)
    await _asend([message], once, on_commit, using)


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
    once = _digest(idempotency_key)
    _send([_to_anonymous(token, data, once)], once, on_commit, using)


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
    message = await in_space(_to_anonymous, token, data, once)
    await _asend([message], once, on_commit, using)


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

    The language is `user.ws_language` (see `UserWsMixin`), else ``LANGUAGE_CODE``. Primary keys
    are loaded in one query. Nothing is sent before every message is built. Takes, returns and
    raises what `publish` does, and raises whatever `build` raises.
    """
    sending.refuse_on_loop("anotify")
    users, once = several(users), _digest(idempotency_key)
    messages = _to_each(users, build, record, once)
    return _send(messages, once, on_commit, using or _database_of(users))


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
    messages = await sync_to_async(_to_each)(users, build, record, once)
    return await _asend(messages, once, on_commit, using or _database_of(users))


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


def _to_users(users: Sequence[Any], frame: str, record: bool, once: str | None) -> list[Addressed]:
    keys = keys_of(pks_of(users))
    groups = map(key_group, keys)
    pushes = sending.pushes(groups, frame, record=record, once=once)
    return list(zip(keys, pushes, strict=True))


async def _ato_users(
    users: Sequence[Any], frame: str, record: bool, once: str | None
) -> list[Addressed]:
    """Async twin of `_to_users`: very many users don't hold the event loop up."""
    messages: dict[str | None, GroupMessage] = {}
    for number, some in enumerate(sending.rounds(users)):
        if number:
            await asyncio.sleep(0)
        messages.update(await in_space(_to_users, some, frame, record, once))
    return list(messages.items())


def _to_everybody(data: Any, record: bool, once: str | None) -> Addressed:
    return None, sending.push(common_group(), data_frame(data), record=record, once=once)


@sensitive_variables()
def _to_anonymous(token: str, data: Any, once: str | None) -> Addressed:
    group = anonymous_group(anonymous_key(checked(token)))
    return None, sending.push(group, data_frame(data), once=once)


def _to_each(
    users: Sequence[Any], build: Callable[[Any], Any], record: bool, once: str | None
) -> list[Addressed]:
    messages = {}
    for user in _instances(users):
        language = getattr(user, "ws_language", None) or settings.LANGUAGE_CODE
        with translation.override(language):
            frame = data_frame(build(user))
        key = key_of(pk_of(user))
        messages[key] = sending.push(key_group(key), frame, record=record, once=once)
    return list(messages.items())


def _instances(users: Sequence[Any]) -> list[Any]:
    """Return `users` as instances; those given by primary key are loaded, if they exist."""
    pks = {id(user): pk_of(user) for user in users}
    wanted = [pks[id(user)] for user in users if not isinstance(user, Model)]
    loaded = get_user_model()._default_manager.in_bulk(wanted) if wanted else {}
    found = (user if isinstance(user, Model) else loaded.get(pks[id(user)]) for user in users)
    return [user for user in found if user is not None]


def _database_of(users: Iterable[Any]) -> str | None:
    """Return the database that the first user instance was loaded from."""
    return next((user._state.db for user in users if isinstance(user, Model)), None)


# --- sending --------------------------------------------------------------------------------


def _send(
    messages: Sequence[Addressed], once: str | None, on_commit: bool, using: str | None
) -> int:
    if on_commit:
        transaction.on_commit(lambda: _send_quietly(messages, once), using=using)
        return 0
    return _send_once(messages, once, _send_round)


def _send_once(
    messages: Sequence[Addressed],
    once: str | None,
    send_round: Callable[[Sequence[Addressed]], int],
) -> int:
    """Send, unless that was done by the same idempotency key; return what was returned then."""
    earlier = sending.recall(once) if once is not None else None
    if earlier is not None:
        return earlier
    connections = sum(map(send_round, sending.rounds(messages)))
    if once is not None:
        sending.remember(once, connections)
    return connections


def _send_round(messages: Sequence[Addressed]) -> int:
    """Send a round and count the users' connections in the same round trip. Count first: a client
    may disconnect as soon as it has the message.
    """
    keys = [key for key, _ in messages if key is not None]
    before = count_command(keys) if keys else None
    counted = count_quietly(keys) if before is None else 0
    with sending.noted(messages):
        reply = sending.send([message for _, message in messages], before)
    return counted if before is None else count_from(keys, reply)


async def _asend(
    messages: Sequence[Addressed], once: str | None, on_commit: bool, using: str | None
) -> int:
    if on_commit:
        # The transaction belongs to the thread in which async code runs its ORM.
        await sync_to_async(transaction.on_commit)(
            lambda: _send_quietly(messages, once), using=using
        )
        return 0
    earlier = await sending.arecall(once) if once is not None else None
    if earlier is not None:
        return earlier
    connections = 0
    for round_ in sending.rounds(messages):
        keys = [key for key, _ in round_ if key is not None]
        # If presence and the layer share a Redis, both are written at once, the count first.
        with sending.noted(round_):
            counted, _ = await asyncio.gather(
                acount_quietly(keys), sending.asend([message for _, message in round_])
            )
        connections += counted
    if once is not None:
        await sending.aremember(once, connections)
    return connections


def _send_quietly(messages: Sequence[Addressed], once: str | None) -> None:
    try:
        _send_once(messages, once, _send_uncounted)
    except Exception:
        logger.exception("Publishing %d message(s) after the commit failed.", len(messages))


def _send_uncounted(messages: Sequence[Addressed]) -> int:
    with sending.noted(messages):
        sending.send([message for _, message in messages])
    return 0
