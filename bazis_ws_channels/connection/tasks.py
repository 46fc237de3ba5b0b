"""Tasks of one connection: cancelled with it, their errors sent to its client."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from .guard import Guard

__all__ = ["Tasks"]


class Tasks:
    """Starts guarded tasks, and cancels them when the connection ends.

    Attributes:
        guard: turns what they raise into errors of the protocol; set before the first task.
    """

    guard: Guard

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task."""
        task = asyncio.create_task(self.guard(coroutine))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, coroutine))
        return task

    def _ended(self, coroutine: Coroutine[Any, Any, Any], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        coroutine.close()  # a task that is cancelled before its first step never gets to it

    async def cancel(self) -> None:
        """Cancel all tasks but the running one, and wait until they have ended."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
