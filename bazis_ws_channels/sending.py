"""Sending group messages through the channel layer, with a time limit, sync and async."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .conf import conf
from .exceptions import MessageTooBig, PublishError, WsError
from .history.base import Streams
from .history.memory import Results
from .redis.breaker import Breaker
from .redis.commands import Command
from .redis.errors import explain
from .redis.hosts import Host
from .types import Event, GroupMessage

__all__ = [
    "Attempt",
    "arecall",
    "aremember",
    "asend",
    "channel_layer",
    "push",
    "recall",
    "refuse_on_loop",
    "refuse_too_big",
    "remember",
    "rounds",
    "send",
    "sent_listeners",
]

logger = logging.getLogger("bazis_ws_channels")

T = TypeVar("T")

#: Messages in one round; more go in several, so that none keeps Redis or the loop busy for long.
_ROUND = 500

#: One breaker for each layer that is not ours: whether its Redis has just failed.
_breakers: WeakKeyDictionary[Any, Breaker] = WeakKeyDictionary()
#: Results of calls with idempotency keys, for channel layers that can't keep them.
_results = Results()

#: Called after sync code has sent something: Redis can be reached. They raise nothing.
sent_listeners: list[Callable[[], None]] = []


def refuse_too_big(frame: str) -> None:
    """Raise where no server could send the text `frame`.

    Raises:
        MessageTooBig: it is over ``BAZIS_WS_MAX_MESSAGE_BYTES``.
    """
    size_bytes = len(frame) if frame.isascii() else len(frame.encode())
    limit_bytes = conf.BAZIS_WS_MAX_MESSAGE_BYTES
    if size_bytes > limit_bytes:
        raise MessageTooBig(size_bytes, limit_bytes)


def push(group: str, frame: str, *, record: bool = False, once: str | None = None) -> GroupMessage:
    """Return the group message that pushes the text `frame` to a group's connections.

    Args:
        record: so that it can be replayed, where the channel layer can.
        once: digest of an idempotency key by which it is sent to the group once.
    """
    event: Event = {"type": "ws.push", "text": frame, "group": group}
    if record:
        event["record"] = True
    if once is not None:
        event["once"] = once
    return group, event


def rounds(items: Sequence[T], size: int = _ROUND) -> Iterator[Sequence[T]]:
    """Yield `items` in rounds, each to be sent, or asked about, within the time limit."""
    return (items[start : start + size] for start in range(0, len(items), size))


def send(messages: Sequence[GroupMessage], before: tuple[Host, Command] | None = None) -> Any:
    """Send group messages of one round from sync code.

    Our own layer sends them over a blocking connection, without an event loop; any other through
    `async_to_sync`, at its cost.

    Args:
        before: a Redis command that is written with them and done before them, where the layer
            can; otherwise it is ignored.

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
    with Attempt(layer):
        reply = send_blocking(messages, conf.BAZIS_WS_PUBLISH_TIMEOUT, before)
    for listener in sent_listeners:
        listener()
    return reply


async def asend(
    messages: Sequence[GroupMessage], before: tuple[Host, Command] | None = None
) -> Any:
    """Async twin of `send`. Other layers than ours get the messages one by one."""
    layer = channel_layer()
    send_many = getattr(layer, "group_send_many", None)
    with Attempt(layer):
        async with asyncio.timeout(conf.BAZIS_WS_PUBLISH_TIMEOUT):
            if send_many is not None:
                return await send_many(messages, before)
            await asyncio.gather(*(layer.group_send(*message) for message in messages))


def recall(once: str) -> int | None:
    """Return what the call with an idempotency key (its digest) returned; None if there was none.

    Raises:
        PublishError: Redis is out of reach.
    """
    layer = channel_layer()
    streams: Streams | None = getattr(layer, "streams", None)
    if streams is None:
        return _results.get(once)
    with Attempt(layer):
        return streams.result_blocking(once, conf.BAZIS_WS_PUBLISH_TIMEOUT)


async def arecall(once: str) -> int | None:
    """Async twin of `recall`."""
    layer = channel_layer()
    streams: Streams | None = getattr(layer, "streams", None)
    if streams is None:
        return _results.get(once)
    with Attempt(layer):
        return await streams.result(once)


def remember(once: str, result: int) -> None:
    """Keep what a call with an idempotency key returned. What was published stays published,
    once for each group, even where this fails.
    """
    layer = channel_layer()
    streams: Streams | None = getattr(layer, "streams", None)
    if streams is None:
        return _results.keep(once, result)
    try:
        streams.keep_result_blocking(once, result, conf.BAZIS_WS_PUBLISH_TIMEOUT)
    except (RedisError, OSError) as error:
        logger.warning("The result of an idempotency key is not kept. %s", explain(error))


async def aremember(once: str, result: int) -> None:
    """Async twin of `remember`."""
    streams: Streams | None = getattr(channel_layer(), "streams", None)
    if streams is None:
        return _results.keep(once, result)
    try:
        await streams.keep_result(once, result)
    except WsError as error:
        logger.warning("The result of an idempotency key is not kept. %s", error)


def _send_over_a_loop(messages: Sequence[GroupMessage]) -> None:
    if not _is_on_loop():
        # The in-memory layer's queues belong to the server's loop, where async_to_sync runs this.
        return async_to_sync(asend)(messages)
    # A notebook, or Playwright: this thread's loop stands still until we return, and its queues
    # with it, so another thread may fill them. `shutdown` of the executor waits for it.
    with ThreadPoolExecutor(1, "bazis_ws_channels") as executor:
        executor.submit(asyncio.run, asend(messages)).result()


def refuse_on_loop(twin: str) -> None:
    """Raise on an event loop, as Django's ORM does: blocking would hold it up.

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


class Attempt:
    """An attempt to use a layer: what that raises becomes a `PublishError`. After a Redis that is
    out of reach, fails at once for a second; not where a layer has several servers, of which the
    others go on.
    """

    __slots__ = ("_breaker",)

    def __init__(self, layer: Any) -> None:
        try:
            self._breaker: Breaker | None = layer.breaker
        except AttributeError:  # another layer than ours
            self._breaker = _breakers.get(layer) or _breakers.setdefault(layer, Breaker())

    def __enter__(self) -> None:
        if self._breaker is not None and self._breaker.is_open:
            raise PublishError(
                "Redis was out of reach less than a second ago: not tried again yet."
            )

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            if self._breaker is not None:
                self._breaker.worked()
        elif isinstance(error, Exception):
            if self._breaker is not None and _is_out_of_reach(error):
                self._breaker.failed()
            raise PublishError(_explained(error)) from error


def _is_out_of_reach(error: Exception) -> bool:
    return isinstance(error, RedisError | OSError) and not isinstance(error, ResponseError)


def _explained(error: Exception) -> str:
    """Return what an error of a layer means."""
    match error:
        case RedisTimeoutError():
            names = "BAZIS_WS_PUBLISH_TIMEOUT, BAZIS_WS_REDIS_TIMEOUT"
            return f"Redis did not answer in time ({names})."
        case TimeoutError():
            limit = conf.BAZIS_WS_PUBLISH_TIMEOUT
            return f"Publishing took over {limit} s (BAZIS_WS_PUBLISH_TIMEOUT)."
        case RedisError() | OSError():
            return f"The channel layer failed. {explain(error)}"
    return f"The channel layer failed. {error!r}"  # whatever other layers raise
