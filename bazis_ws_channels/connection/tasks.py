"""Tasks of one connection, which end with it and tell its client what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .guard import Guard

__all__ = ["Tasks"]


class Tasks:
    """Tasks that are guarded, and cancelled when their connection ends.

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
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: coroutine.close())  # it may be cancelled before it began
        return task

    async def cancel(self) -> None:
        """Cancel all tasks but the running one, and wait until they have ended."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
