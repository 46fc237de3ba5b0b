"""What is due when. No I/O."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Generic, TypeVar

__all__ = ["Agenda"]

J = TypeVar("J", bound=IntEnum)


class Agenda(Generic[J]):
    """Due times of jobs, in seconds by the caller's clock; a job stands in it once or not.

    Jobs that are due together are taken in their order as numbers.
    """

    def __init__(self) -> None:
        self._due: dict[J, float] = {}

    def __contains__(self, job: J) -> bool:
        return job in self._due

    @property
    def next_at(self) -> float:
        """When the next job is due; infinity if there is none."""
        return min(self._due.values(), default=math.inf)

    def put(self, job: J, at: float) -> bool:
        """Enter a job, or move it forward; True if nothing was due before it."""
        is_first = at < self.next_at
        self._due[job] = min(at, self._due.get(job, math.inf))
        return is_first

    def move(self, job: J, at: float) -> None:
        """Enter a job, or move it to another time, earlier or later."""
        self._due[job] = at

    def take(self, now: float) -> list[J]:
        """Take the jobs that are due out of it."""
        due = sorted(job for job, at in self._due.items() if at <= now)
        for job in due:
            del self._due[job]
        return due

    def drop(self, job: J) -> None:
        """Take a job out, if it stands in it."""
        self._due.pop(job, None)
