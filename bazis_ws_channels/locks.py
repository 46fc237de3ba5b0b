"""Locks that no fork leaves held."""

from __future__ import annotations

import os
import threading
from typing import Any

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock of which each process has its own.

    A process that is forked while another thread holds a lock has that thread no more, so nobody
    would ever release it. The process's id tells of every fork, also of those in C that Python
    isn't told of.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def acquire(self, *, blocking: bool = True) -> bool:
        """Acquire the lock; with `blocking` wait for it. Return whether that was done."""
        return self._own().acquire(blocking)

    def release(self) -> None:
        """Release the lock."""
        self._own().release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: Any) -> None:
        self.release()

    def _own(self) -> threading.Lock:
        pid = os.getpid()
        return self._locks.get(pid) or self._locks.setdefault(pid, threading.Lock())
