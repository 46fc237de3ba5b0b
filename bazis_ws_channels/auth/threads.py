"""Threads of our own for the database: the one that a process shares may wait for anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections, router

__all__ = ["DatabaseThread"]

T = TypeVar("T")


class DatabaseThread:
    """A thread with database connections of its own; it starts at the first call."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "bazis-ws")
        self._must_share: bool | None = None

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function` in the thread; close the connections that are old by then."""
        if self._must_share is None:
            self._must_share = await _must_share()
        if self._must_share:
            call = database_sync_to_async(function)
        else:
            call = database_sync_to_async(function, thread_sensitive=False, executor=self._executor)
        result: T = await call(*args)
        return result

    def close(self) -> None:
        """Close the connections and end the thread, when the present call is done."""
        if self._must_share is False:
            self._executor.submit(connections.close_all)
        self._executor.shutdown(wait=False)


async def _must_share() -> bool:
    """Tell whether the database is to be used from the thread in which Django's sync code runs:
    under `async_to_sync`, as in Django's tests, whose transaction is that thread's; and where
    the database is in memory.
    """
    if await sync_to_async(threading.current_thread)() is threading.main_thread():
        return True
    database: Any = connections[router.db_for_read(get_user_model())]
    return database.vendor == "sqlite" and bool(database.is_in_memory_db())
