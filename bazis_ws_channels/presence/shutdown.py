"""Hearing of it when the server stops.

daphne cancels its applications on SIGTERM, unless a WebSocket handshake happened within the last
second: then a KeyError skips all of that. Twisted's own trigger always comes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["on_server_stop"]

#: Seconds that clean-up may hold up the end of the server.
_LIMIT_SECONDS = 5.0


def on_server_stop(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback` before the server on the running event loop ends, where it is daphne.

    Other servers let their applications end by themselves.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if getattr(reactor, "_asyncioEventloop", None) is not asyncio.get_running_loop():
        return
    from twisted.internet.defer import Deferred

    async def limited() -> None:
        async with asyncio.timeout(_LIMIT_SECONDS):
            await callback()

    def trigger() -> Any:
        deferred = Deferred.fromFuture(asyncio.ensure_future(limited()))
        deferred.addErrback(lambda failure: None)
        return deferred

    reactor.addSystemEventTrigger("before", "shutdown", trigger)
