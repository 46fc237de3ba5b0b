"""Publish JSON to users: from views, signals, commands, Celery tasks; sync or async.

A message is encoded to the text of its WebSocket frame here, once, and travels through
``channel_layer.group_send``. Delivery is at most once: who isn't connected doesn't get it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import transaction
from django.db.models import Model
from django.utils import translation
from redis.exceptions import RedisError

from . import background, presence
from .conf import conf
from .exceptions import MessageTooBig, PublishError, WsError
from .groups import COMMON_CHANNEL, user_group
from .identity import pk_of, pks_of, several
from .protocol import data_frame

__all__ = [
    "MessageTooBig",
    "PublishError",
    "abroadcast",
    "anotify",
    "apublish",
    "broadcast",
    "group_send",
    "notify",
    "publish",
    "push",
    "run_sync",
]

logger = logging.getLogger("bazis_ws_channels")

T = TypeVar("T")
Message = tuple[str, dict[str, Any]]

#: Users of one call sent together; more go in several rounds, so that none starves others.
_ROUND = 1000


def publish(users: Iterable[Any], data: Any, *, on_commit: bool = False) -> int:
    """Hand `data` to every connection of `users` (instances or primary keys).

    Args:
        data: any JSON value; dates, UUIDs, decimals and lazy strings as Django encodes them.
        on_commit: publish after the current transaction commits, if it does; a failure is then
            logged, never raised, for the write is done.

    Returns:
        How many connections the users had together; 0 with `on_commit`.

    Raises:
        TypeError: JSON can't hold `data`; the message names what and where. Nothing was sent.
        MessageTooBig: it is over ``BAZIS_WS_MAX_MESSAGE_BYTES``. Nothing was sent.
        PublishError: the channel layer is out of reach, or slower than
            ``BAZIS_WS_PUBLISH_TIMEOUT``; some of the users may have got the message.
        SynchronousOnlyOperation: called on an event loop; use `apublish`.
    """
    pks, messages = _to_users(users, data)
    return _send_sync("apublish", pks, messages, on_commit)


async def apublish(users: Iterable[Any], data: Any, *, on_commit: bool = False) -> int:
    """Async twin of `publish`."""
    if not isinstance(users, Sequence | set | frozenset):  # a queryset may ask the database
        users = await sync_to_async(pks_of)(users)
    pks, messages = _to_users(users, data)
    return await _send_async(pks, messages, on_commit)


def broadcast(data: Any, *, on_commit: bool = False) -> None:
    """Hand `data` to everybody connected. Raises as `publish`."""
    _send_sync("abroadcast", [], [_message(COMMON_CHANNEL, data)], on_commit)


async def abroadcast(data: Any, *, on_commit: bool = False) -> None:
    """Async twin of `broadcast`."""
    await _send_async([], [_message(COMMON_CHANNEL, data)], on_commit)


def notify(users: Iterable[Any], build: Callable[[Any], Any], *, on_commit: bool = False) -> int:
    """Hand each of `users` what `build(user)` returns, built in that user's language.

    The language is `user.ws_language` (see `UserWsMixin`), else ``LANGUAGE_CODE``. Primary keys
    are loaded in one query. Nothing is sent before every message is built. Returns and raises as
    `publish`, and whatever `build` raises.
    """
    pks, messages = _to_each(users, build)
    return _send_sync("anotify", pks, messages, on_commit)


async def anotify(
    users: Iterable[Any], build: Callable[[Any], Any], *, on_commit: bool = False
) -> int:
    """Async twin of `notify`; `build` runs in a thread, so it may use the database."""
    pks, messages = await sync_to_async(_to_each)(users, build)
    return await _send_async(pks, messages, on_commit)


def push(group: str, frame: str) -> Message:
    """Return what `group_send` takes to push the text `frame` to a group.

    Raises:
        MessageTooBig: no server could send it.
    """
    size_bytes = len(frame) if frame.isascii() else len(frame.encode())
    if size_bytes > conf.BAZIS_WS_MAX_MESSAGE_BYTES:
        raise MessageTooBig(size_bytes, conf.BAZIS_WS_MAX_MESSAGE_BYTES)
    return group, {"type": "ws.push", "group": group, "text": frame}


async def group_send(messages: Iterable[Message], spent_seconds: float = 0) -> None:
    """Send group messages together, within ``BAZIS_WS_PUBLISH_TIMEOUT``.

    Args:
        spent_seconds: what of that the caller has used; a tenth is left in any case.

    Raises:
        PublishError: one of them could not be handed over.
    """
    layer = _channel_layer()
    messages = list(messages)
    limit_seconds = conf.BAZIS_WS_PUBLISH_TIMEOUT
    try:
        async with asyncio.timeout(max(limit_seconds - spent_seconds, limit_seconds / 10)):
            if len(messages) == 1:
                await layer.group_send(*messages[0])
                return
            for start in range(0, len(messages), _ROUND):
                round_ = messages[start : start + _ROUND]
                await asyncio.gather(*(layer.group_send(*message) for message in round_))
    except TimeoutError as error:
        raise PublishError(
            f"Publishing took over {limit_seconds} s (BAZIS_WS_PUBLISH_TIMEOUT)."
        ) from error
    except (RedisError, OSError, ChannelFull, WsError) as error:
        raise PublishError(f"The channel layer failed: {type(error).__name__}: {error}") from error


def run_sync(name: str, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of this package from sync code.

    Raises:
        SynchronousOnlyOperation: this is an event loop; the message names the twin, `name`.
    """
    try:
        _refuse_on_loop(name)
    except SynchronousOnlyOperation:
        coroutine.close()
        raise
    if isinstance(get_channel_layer(), InMemoryChannelLayer):
        # Its queues belong to the server's loop, where async_to_sync runs what it is given.
        return async_to_sync(_await)(coroutine)
    return background.run(coroutine)


def _refuse_on_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(f"This is async code: use `await {name}(...)`.")


async def _await(coroutine: Coroutine[Any, Any, T]) -> T:
    return await coroutine


def _to_users(users: Iterable[Any], data: Any) -> tuple[list[Any], list[Message]]:
    frame = data_frame(data)
    pks = pks_of(users)
    return pks, [push(user_group(pk), frame) for pk in pks]


def _to_each(users: Iterable[Any], build: Callable[[Any], Any]) -> tuple[list[Any], list[Message]]:
    messages = {}
    for user in _instances(users):
        language = getattr(user, "ws_language", None) or settings.LANGUAGE_CODE
        with translation.override(language):
            messages[pk_of(user)] = _message(user_group(user.pk), build(user))
    return list(messages), list(messages.values())


def _instances(users: Iterable[Any]) -> list[Any]:
    """Return `users` as instances; those given by primary key are loaded, if they exist."""
    users = several(users)
    model = get_user_model()
    # As the field has it, for a key may come as its string.
    pks = {user: model._meta.pk.to_python(user) for user in users if not isinstance(user, Model)}
    loaded = model._default_manager.in_bulk(list(pks.values())) if pks else {}
    found = (user if isinstance(user, Model) else loaded.get(pks[user]) for user in users)
    return [user for user in found if user is not None]


def _message(group: str, data: Any) -> Message:
    return push(group, data_frame(data))


def _send_sync(name: str, pks: list[Any], messages: list[Message], on_commit: bool) -> int:
    _refuse_on_loop(name)
    if on_commit:
        transaction.on_commit(lambda: _send_quietly(messages))
        return 0
    return run_sync(name, _send(pks, messages))


async def _send_async(pks: list[Any], messages: list[Message], on_commit: bool) -> int:
    if on_commit:
        # The connection, and so the transaction, is the thread's where async code runs its ORM.
        await sync_to_async(transaction.on_commit)(lambda: _send_quietly(messages))
        return 0
    return await _send(pks, messages)


async def _send(pks: list[Any], messages: list[Message]) -> int:
    started_at = time.monotonic()
    # First count: who gets the message may go at once.
    connections = await presence.acount(pks) if pks else 0
    await group_send(messages, time.monotonic() - started_at)
    return connections


def _send_quietly(messages: list[Message]) -> None:
    try:
        run_sync("apublish", group_send(messages))
    except Exception:
        logger.exception("Publishing %d message(s) after the commit failed.", len(messages))


def _channel_layer() -> Any:
    layer = get_channel_layer()
    if layer is None:
        raise ImproperlyConfigured("CHANNEL_LAYERS has no 'default' channel layer.")
    return layer
