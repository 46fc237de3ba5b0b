"""What is due when, and waiting for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Generic, TypeVar

__all__ = ["Agenda"]

J = TypeVar("J", bound=IntEnum)


class Agenda(Generic[J]):
    """Due times of jobs; a job stands in it once or not.

    Jobs that are due together are taken in their order as numbers.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[J, float] = {}
        self._wakeup = asyncio.Event()

    def __contains__(self, job: J) -> bool:
        return job in self._due

    @property
    def next_in_seconds(self) -> float:
        """Time until the next job is due: negative if it is overdue, infinity if there is none."""
        return min(self._due.values(), default=math.inf) - self._clock()

    def put(self, job: J, in_seconds: float) -> None:
        """Enter a job, or move it forward. Who waits is woken if it is the next."""
        at = self._clock() + in_seconds
        if at < min(self._due.values(), default=math.inf):
            self._wakeup.set()
        self._due[job] = min(at, self._due.get(job, math.inf))

    def put_now(self, *jobs: J) -> None:
        """Enter jobs to be done as soon as possible, and wake who waits."""
        for job in jobs:
            self.put(job, 0)
        self._wakeup.set()

    def move(self, job: J, in_seconds: float) -> None:
        """Enter a job, or move it to another time, earlier or later."""
        self._due[job] = self._clock() + in_seconds

    def take(self) -> list[J]:
        """Take the jobs that are due out of it."""
        now = self._clock()
        due = sorted(job for job, at in self._due.items() if at <= now)
        for job in due:
            del self._due[job]
        return due

    def drop(self, job: J) -> None:
        """Take a job out, if it stands in it."""
        self._due.pop(job, None)

    async def wait(self, at_most_seconds: float) -> None:
        """Wait until the next job is due, or has been put before it."""
        await self._sleep(min(self.next_in_seconds, at_most_seconds))

    async def pause(self, seconds: float) -> None:
        """Wait, whatever is due, unless a job is put meanwhile that comes before all others."""
        self._wakeup.clear()
        await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wakeup.wait()
        except TimeoutError:
            pass
        self._wakeup.clear()
