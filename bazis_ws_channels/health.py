"""A health view: can this process do its work?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from channels.layers import get_channel_layer
from django.http import HttpRequest, HttpResponseNotAllowed, JsonResponse
from redis.exceptions import RedisError

from .conf import conf
from .presence.tracker import current_tracker
from .redis.commands import Command
from .redis.connection import connections_to
from .redis.hosts import Host, presence_host

__all__ = ["health"]

#: The whole answer is there within a second, whatever hangs.
_LIMIT_SECONDS = 0.7
#: How long the event loop is asked to sleep, to see how late it wakes.
_NAP_SECONDS = 0.02


async def health(request: HttpRequest) -> JsonResponse | HttpResponseNotAllowed:
    """Answer 200 if all is well, else 503, as JSON:

    - ``redis``: every Redis of the channel layer and of presence answers;
    - ``lease``: presence has renewed this process's lease in time (null without sessions);
    - ``subscriptions``: what this process listens to is confirmed (null without any);
    - ``loop_lag_seconds``: how late the event loop is; it fails nothing by itself.
    """
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    redis, subscriptions, lag = await asyncio.gather(
        _within(_redis_answers()), _within(_is_subscribed()), _loop_lag()
    )
    checks = {"redis": redis, "lease": _is_lease_held(), "subscriptions": subscriptions}
    is_well = all(value is not False for value in checks.values())
    body = {"status": "ok" if is_well else "failing", **checks, "loop_lag_seconds": lag}
    response = JsonResponse(body, status=200 if is_well else 503)
    response["Cache-Control"] = "no-store"
    return response


async def _within(check: Awaitable[bool | None]) -> bool | None:
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            return await check
    except (RedisError, OSError):  # a TimeoutError, too
        return False


async def _redis_answers() -> bool | None:
    layer = get_channel_layer()
    hosts: set[Host] = set(getattr(layer, "hosts", ())) if _is_ours(layer) else set()
    own = presence_host()
    if own is not None:
        hosts.add(own)
    ping = Command(("PING",), is_repeatable=True)
    servers = await asyncio.gather(*map(connections_to, hosts))
    await asyncio.gather(*(server.call(ping) for each in servers for server in each))
    return True if hosts else None


async def _is_subscribed() -> bool | None:
    """Wait until everything is subscribed, for what is new takes a round trip."""
    layer = get_channel_layer()
    if not _is_ours(layer) or layer.is_subscribed is None:
        return None
    while not layer.is_subscribed:  # noqa: ASYNC110  # nothing announces it
        await asyncio.sleep(_NAP_SECONDS)
    return True


def _is_ours(layer: Any) -> bool:
    return hasattr(layer, "is_subscribed")


def _is_lease_held() -> bool | None:
    lease = current_tracker().lease
    return lease.age_seconds < conf.BAZIS_WS_LEASE_SECONDS if lease.name else None


async def _loop_lag() -> float:
    started = time.monotonic()
    await asyncio.sleep(_NAP_SECONDS)
    return round(max(0.0, time.monotonic() - started - _NAP_SECONDS), 4)
