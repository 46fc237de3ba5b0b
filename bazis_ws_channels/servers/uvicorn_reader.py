"""Frames from one client of uvicorn.

uvicorn parses all that it has read at once, and answers pings and puts fragments together without
asking the application. So a sluice stands before its parser.
"""

from __future__ import annotations

from collections.abc import Callable

from ..types import Event, Receive
from .reader import Budget, Reader
from .rules import Rules
from .sluice import Sluice

__all__ = ["UvicornReader"]


class UvicornReader(Reader):
    """Tells the sluice what the application has."""

    def __init__(
        self, receive: Receive, budget: Budget, is_full: Callable[[], bool], sluice: Sluice
    ) -> None:
        super().__init__(receive)
        self._sluice = sluice
        sluice.open(Rules(budget, lambda: sluice.is_full or is_full()))

    async def receive(self) -> Event:
        """Return the next event."""
        event = await self._receive()
        self._sluice.taken()
        return event

    def stop(self) -> None:
        """Drop what comes, and read no more."""
        self._sluice.stop()

    def detach(self) -> None:
        """Let the connection close."""
        self._sluice.detach()
