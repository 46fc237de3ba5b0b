"""Sending group messages through the channel layer, with a time limit, sync and async."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .conf import conf
from .exceptions import MessageTooBig, PublishError, WsError
from .redis.breaker import Breaker
from .redis.commands import Command
from .redis.errors import explain
from .redis.hosts import Host
from .types import GroupMessage

__all__ = ["asend", "channel_layer", "push", "pushes", "refuse_on_loop", "rounds", "send"]

#: Messages of one round: more go in several, so that none of them keeps Redis or a loop busy.
_ROUND = 1000

#: Whether each layer's Redis has just failed.
_breakers: WeakKeyDictionary[Any, Breaker] = WeakKeyDictionary()


def push(group: str, frame: str) -> GroupMessage:
    """Return the group message that pushes the text `frame` to a group's connections.

    Raises:
        MessageTooBig: no server could send it.
    """
    [message] = pushes([group], frame)
    return message


def pushes(groups: Iterable[str], frame: str) -> list[GroupMessage]:
    """Return the group messages that push the same text to several groups. Raises as `push`."""
    size_bytes = len(frame) if frame.isascii() else len(frame.encode())
    limit_bytes = conf.BAZIS_WS_MAX_MESSAGE_BYTES
    if size_bytes > limit_bytes:
        raise MessageTooBig(size_bytes, limit_bytes)
    return [(group, {"type": "ws.push", "group": group, "text": frame}) for group in groups]


def rounds(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Return `items` in rounds, each to be sent within the time limit."""
    return (items[start : start + _ROUND] for start in range(0, len(items), _ROUND))


def send(messages: Sequence[GroupMessage], before: tuple[Host, Command] | None = None) -> Any:
    """Send group messages of one round from sync code.

    Our own layer sends them over a blocking connection, without an event loop; any other through
    `async_to_sync`, at its cost.

    Args:
        before: a Redis command that is written with them and done before them, where the layer
            can; else nothing is done with it.

    Returns:
        The reply to `before`; None where it was not written.

    Raises:
        PublishError: they could not be handed over within ``BAZIS_WS_PUBLISH_TIMEOUT``.
        SynchronousOnlyOperation: this is an event loop.
    """
    refuse_on_loop("asend")
    layer = channel_layer()
    send_blocking = getattr(layer, "group_send_blocking", None)
    if send_blocking is None:
        return _send_over_a_loop(messages)
    with _failing_as_publish_error(layer):
        return send_blocking(messages, conf.BAZIS_WS_PUBLISH_TIMEOUT, before)


async def asend(messages: Sequence[GroupMessage]) -> None:
    """Async twin of `send`, without `before`."""
    layer = channel_layer()
    with _failing_as_publish_error(layer):
        async with asyncio.timeout(conf.BAZIS_WS_PUBLISH_TIMEOUT):
            if len(messages) == 1:
                await layer.group_send(*messages[0])
            else:
                await asyncio.gather(*(layer.group_send(*message) for message in messages))


def _send_over_a_loop(messages: Sequence[GroupMessage]) -> None:
    if not _is_on_loop():
        # The in-memory layer's queues belong to the server's loop, where this runs it.
        return async_to_sync(asend)(messages)
    # A notebook, or Playwright: this thread's loop stands still until we return, and its queues
    # with it, so another thread may fill them. `shutdown` of the executor waits for it.
    with ThreadPoolExecutor(1, "bazis_ws_channels") as executor:
        executor.submit(asyncio.run, asend(messages)).result()


def refuse_on_loop(twin: str) -> None:
    """Raise where blocking would hold up an event loop, as Django's ORM does.

    Args:
        twin: the async function to use instead.

    Raises:
        SynchronousOnlyOperation: this thread runs an event loop, and DJANGO_ALLOW_ASYNC_UNSAFE
            isn't set.
    """
    if _is_on_loop() and not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise SynchronousOnlyOperation(f"This is async code: use `await {twin}(...)`.")


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def channel_layer() -> Any:
    """Return the default channel layer.

    Raises:
        ImproperlyConfigured: there is none.
    """
    layer = get_channel_layer()
    if layer is None:
        raise ImproperlyConfigured("CHANNEL_LAYERS has no 'default' channel layer.")
    return layer


@contextmanager
def _failing_as_publish_error(layer: Any) -> Iterator[None]:
    """Turn what a layer raises into `PublishError`; after a Redis that is out of reach, fail at
    once for a second.
    """
    breaker = _breakers.get(layer) or _breakers.setdefault(layer, Breaker())
    if breaker.is_open:
        raise PublishError("Redis was out of reach less than a second ago: not tried again yet.")
    try:
        yield
    except (ResponseError, ChannelFull, WsError) as error:
        what = explain(error) if isinstance(error, ResponseError) else repr(error)
        raise PublishError(f"The channel layer failed. {what}") from error
    except TimeoutError as error:
        breaker.failed()
        limit = conf.BAZIS_WS_PUBLISH_TIMEOUT
        raise PublishError(f"Publishing took over {limit} s (BAZIS_WS_PUBLISH_TIMEOUT).") from error
    except RedisTimeoutError as error:
        breaker.failed()
        names = "BAZIS_WS_PUBLISH_TIMEOUT, BAZIS_WS_REDIS_TIMEOUT"
        raise PublishError(f"Redis did not answer in time ({names}).") from error
    except (RedisError, OSError) as error:
        breaker.failed()
        raise PublishError(f"The channel layer failed. {explain(error)}") from error
    breaker.worked()
