"""Frames from one client, held to their budget before the application sees them.

Most servers keep few frames for an application that is busy. daphne keeps all that comes
(`servers.daphne_reader`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from ..types import Event, Receive
from .writer import server_send

__all__ = ["Budget", "Reader", "make_reader"]


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


def make_reader(send: Any, receive: Receive, budget: Budget, is_full: Callable[[], bool]) -> Reader:
    """Return the reader for the server whose `send` this is; call it before the socket is
    accepted.

    Args:
        is_full: tells whether the client doesn't read, so that it gets no pongs either.
    """
    if "daphne.ws_protocol" in sys.modules:
        from .daphne import protocol_of
        from .daphne_reader import DaphneReader

        protocol = protocol_of(server_send(send))
        if protocol is not None:
            return DaphneReader(receive, budget, is_full, protocol)
    if "uvicorn" in sys.modules:
        from .uvicorn import check_limit

        check_limit(server_send(send))
    return Reader(receive)
