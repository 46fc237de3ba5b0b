"""One event loop in a thread of its own, for sync code that must await something.

`async_to_sync` would make a thread, a loop and a Redis connection for every call; this keeps
one of each for the process. It starts at the first use, starts anew in a forked child (Celery's
prefork workers, gunicorn) and ends with the interpreter.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")


class _BackgroundLoop:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is not None:
            return loop
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=loop.run_forever, name="bazis_ws_channels", daemon=True
                )
                self._thread.start()
                self._loop = loop
            return self._loop

    def forget(self) -> None:
        """In a forked child: the parent's thread isn't here, and its sockets are the parent's.

        The loop is kept from the garbage collector, for it shares its epoll with the parent's:
        closing its sockets here would take them off there.
        """
        if self._loop is not None:
            _inherited.append(self._loop)
        self.__init__()  # type: ignore[misc]  # the lock too: it may have been held

    def stop(self) -> None:
        """End the thread; closing the loop lets the channel layer close its connections."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=2)
        if not thread.is_alive():
            loop.close()


_tasks: set[asyncio.Task[None]] = set()
_inherited: list[asyncio.AbstractEventLoop] = []
_background = _BackgroundLoop()
atexit.register(_background.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_background.forget)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine`, which must have a time limit of its own, and return its result.

    As `asyncio.run_coroutine_threadsafe`, without the turns of the loop that its chain of two
    futures takes.
    """
    done: Future[T] = Future()
    loop = _background.get()
    loop.call_soon_threadsafe(lambda: _keep(loop.create_task(_complete(coroutine, done))))
    return done.result()


async def _complete(coroutine: Coroutine[Any, Any, T], done: Future[T]) -> None:
    try:
        done.set_result(await coroutine)
    except BaseException as error:
        done.set_exception(error)
        if not isinstance(error, Exception):
            raise


def _keep(task: asyncio.Task[None]) -> None:
    """Hold a task until it is done, for the loop holds it only weakly."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
