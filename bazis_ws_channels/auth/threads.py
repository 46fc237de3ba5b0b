"""Threads of our own for the database: the one that a process shares may wait for anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.db import Error, connections, router

__all__ = ["DatabaseThread"]

T = TypeVar("T")

#: How long a connection is kept that was opened in a thread of ours. ``CONN_MAX_AGE`` is for
#: requests: its default, 0, would open one for each call, at a higher cost than the query's.
_KEEP_SECONDS = 60.0


class DatabaseThread:
    """A thread with database connections of its own; it starts at the first call."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "bazis-ws")
        self._must_share: bool | None = None

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function` in the thread. Connections that it opens are kept for a minute."""
        if self._must_share is None:
            self._must_share = await _must_share()
        if self._must_share:
            call = database_sync_to_async(function)
        else:
            call = database_sync_to_async(
                partial(_keep, function), thread_sensitive=False, executor=self._executor
            )
        result: T = await call(*args)
        return result

    def close(self) -> None:
        """Close the connections and end the thread, when the present call is done."""
        if self._must_share is False:
            self._executor.submit(connections.close_all)
        self._executor.shutdown(wait=False)


def _keep(function: Callable[..., T], *args: Any) -> T:
    """Call a function, and don't let its connections be closed behind it.

    One that was kept may have died meanwhile, by a restart of the database, or because a balancer
    forgot it. The function is then called again, over a new one.
    """
    kept = [each for each in connections.all(initialized_only=True) if each.connection is not None]
    try:
        try:
            result = function(*args)
        except Error:
            if not _drop_dead(kept):
                raise
        else:
            if not _drop_dead(kept):
                return result
        return function(*args)
    finally:
        now = time.monotonic()
        for connection in connections.all(initialized_only=True):
            if connection.close_at is not None and connection.close_at <= now:
                connection.close_at = now + _KEEP_SECONDS


def _drop_dead(kept: Sequence[Any]) -> bool:
    """Close those connections that have failed and are of no use any more. Tell whether there are
    any, also where the error was caught.
    """
    dead = [each for each in kept if each.errors_occurred and not each.is_usable()]
    for connection in dead:
        connection.close()
    return bool(dead)


async def _must_share() -> bool:
    """Tell whether the database is to be used from the thread in which Django's sync code runs:
    under `async_to_sync`, as in Django's tests, whose transaction is that thread's; and where
    the database is in memory.
    """
    if await sync_to_async(threading.current_thread)() is threading.main_thread():
        return True
    database: Any = connections[router.db_for_read(get_user_model())]
    return database.vendor == "sqlite" and bool(database.is_in_memory_db())
