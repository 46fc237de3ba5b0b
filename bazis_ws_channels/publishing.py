"""Publish JSON to users: from views, signals, commands, Celery tasks; sync or async.

A message is encoded to the text of its WebSocket frame here, once, and travels through
``channel_layer.group_send``. Delivery is at most once: who isn't connected doesn't get it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.utils import translation

from . import sending
from .exceptions import MessageTooBig, PublishError
from .groups import common_group, key_group
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
    "broadcast",
    "notify",
    "publish",
]

logger = logging.getLogger("bazis_ws_channels")

#: A message to each user, by key; or to everybody, by None.
Addressed = tuple[str | None, GroupMessage]


def publish(
    users: Iterable[Any], data: Any, *, on_commit: bool = False, using: str | None = None
) -> int:
    """Hand `data` to every connection of `users` (instances or primary keys).

    Args:
        data: any JSON value; dates, UUIDs, decimals and lazy strings as Django encodes them.
        on_commit: publish after the current transaction commits, if it does; a failure is then
            logged, never raised, for the write is done.
        using: the database whose transaction that is; by default that of the user instances.

    Returns:
        How many connections the users had together; 0 with `on_commit`.

    Raises:
        TypeError: JSON can't hold `data`, or one of `users` is none; the message names what and
            where. Nothing was sent.
        MessageTooBig: it is over ``BAZIS_WS_MAX_MESSAGE_BYTES``. Nothing was sent.
        PublishError: the channel layer is out of reach, or slower than
            ``BAZIS_WS_PUBLISH_TIMEOUT``; some of the users may have got the message.
        SynchronousOnlyOperation: called on an event loop; use `apublish`.
    """
    sending.refuse_on_loop("apublish")
    users = several(users)
    return _send(_to_users(users, data), on_commit, using or _database_of(users))


async def apublish(
    users: Iterable[Any], data: Any, *, on_commit: bool = False, using: str | None = None
) -> int:
    """Async twin of `publish`."""
    users = await aseveral(users)
    messages = await in_space(_to_users, users, data)
    return await _asend(messages, on_commit, using or _database_of(users))


def broadcast(data: Any, *, on_commit: bool = False, using: str | None = None) -> None:
    """Hand `data` to everybody connected. Raises as `publish`."""
    sending.refuse_on_loop("abroadcast")
    _send([_to_everybody(data)], on_commit, using)


async def abroadcast(data: Any, *, on_commit: bool = False, using: str | None = None) -> None:
    """Async twin of `broadcast`."""
    await _asend([await in_space(_to_everybody, data)], on_commit, using)


def notify(
    users: Iterable[Any],
    build: Callable[[Any], Any],
    *,
    on_commit: bool = False,
    using: str | None = None,
) -> int:
    """Hand each of `users` what `build(user)` returns, built in that user's language.

    The language is `user.ws_language` (see `UserWsMixin`), else ``LANGUAGE_CODE``. Primary keys
    are loaded in one query. Nothing is sent before every message is built. Returns and raises as
    `publish`, and whatever `build` raises.
    """
    sending.refuse_on_loop("anotify")
    users = several(users)
    return _send(_to_each(users, build), on_commit, using or _database_of(users))


async def anotify(
    users: Iterable[Any],
    build: Callable[[Any], Any],
    *,
    on_commit: bool = False,
    using: str | None = None,
) -> int:
    """Async twin of `notify`; `build` runs in a thread, so it may use the database."""
    users = await aseveral(users)
    messages = await sync_to_async(_to_each)(users, build)
    return await _asend(messages, on_commit, using or _database_of(users))


# --- messages -------------------------------------------------------------------------------


def _to_users(users: Sequence[Any], data: Any) -> list[Addressed]:
    keys = keys_of(pks_of(users))
    pushes = sending.pushes(map(key_group, keys), data_frame(data))
    return list(zip(keys, pushes, strict=True))


def _to_everybody(data: Any) -> Addressed:
    return None, sending.push(common_group(), data_frame(data))


def _to_each(users: Sequence[Any], build: Callable[[Any], Any]) -> list[Addressed]:
    messages = {}
    for user in _instances(users):
        language = getattr(user, "ws_language", None) or settings.LANGUAGE_CODE
        with translation.override(language):
            frame = data_frame(build(user))
        key = key_of(pk_of(user))
        messages[key] = sending.push(key_group(key), frame)
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


def _send(messages: Sequence[Addressed], on_commit: bool, using: str | None) -> int:
    if on_commit:
        transaction.on_commit(lambda: _send_quietly(messages), using=using)
        return 0
    return sum(map(_send_round, sending.rounds(messages)))


def _send_round(messages: Sequence[Addressed]) -> int:
    """Send a round, and count the users' connections in the same round trip: before it, for who
    gets the message may go at once.
    """
    keys = [key for key, _ in messages if key is not None]
    before = count_command(keys) if keys else None
    counted = count_quietly(keys) if before is None else 0
    reply = sending.send([message for _, message in messages], before)
    return counted if before is None else count_from(keys, reply)


async def _asend(messages: Sequence[Addressed], on_commit: bool, using: str | None) -> int:
    if on_commit:
        # The connection, and so the transaction, is the thread's where async code runs its ORM.
        await sync_to_async(transaction.on_commit)(lambda: _send_quietly(messages), using=using)
        return 0
    connections = 0
    for round_ in sending.rounds(messages):
        keys = [key for key, _ in round_ if key is not None]
        # Both are written at once where presence and the layer share a Redis: first the count.
        counted, _ = await asyncio.gather(
            acount_quietly(keys), sending.asend([message for _, message in round_])
        )
        connections += counted
    return connections


def _send_quietly(messages: Sequence[Addressed]) -> None:
    try:
        for round_ in sending.rounds(messages):
            sending.send([message for _, message in round_])
    except Exception:
        logger.exception("Publishing %d message(s) after the commit failed.", len(messages))
