"""Frames from one client, held to their budget before the application sees them.

Most servers keep few frames for an application that is busy. daphne keeps all that comes
(`servers.daphne_reader`).
"""

from __future__ import annotations

from typing import Protocol

from ..types import Event, Receive

__all__ = ["Budget", "Reader"]


class Budget(Protocol):
    """What one client may send, as its connection counts it."""

    def may_send_control(self) -> bool:
        """Take a ping, a pong or a fragment off the allowance; False if it is used up."""

    def was_exceeded(self) -> None:
        """Close the connection: a frame is too big, or in too many fragments."""

    def was_flooded(self) -> None:
        """Close the connection: more frames came at once than its limits let pass."""


class Reader:
    """Frames of one client, as the server hands them over.

    Args:
        receive: the ASGI `receive` of the connection.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def receive(self) -> Event:
        """Return the next event: ASGI's `receive`."""
        return await self._receive()

    def stop(self) -> None:
        """Read nothing more from a client that is being closed for what it sent."""

    def detach(self) -> None:
        """Let go of the server's connection: it is gone."""
