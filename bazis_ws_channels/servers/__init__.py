"""What only one ASGI server makes us do, behind names that hold for all of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["is_gone", "on_server_stop"]


def is_gone(send: Any) -> bool:
    """Tell whether the connection whose `send` this is has ended already, where the server knows
    without being asked for the next event.
    """
    if "daphne.ws_protocol" in sys.modules:
        from .daphne import protocol_of
        from .writer import server_send

        protocol = protocol_of(server_send(send))
        return protocol is not None and protocol.state == protocol.STATE_CLOSED
    return False


def on_server_stop(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback` before the server on the running event loop ends, where it is daphne.

    Other servers let their applications end by themselves.
    """
    if "daphne.ws_protocol" in sys.modules:
        from .daphne import on_stop

        on_stop(callback)
