"""What only one ASGI server makes us do, behind names that hold for all of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from ..types import Send
from .writer import Writer, server_send

__all__ = ["make_writer", "on_server_stop"]


def on_server_stop(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback` before the server on the running event loop ends, where it is daphne.

    Other servers let their applications end by themselves.
    """
    if "daphne.ws_protocol" in sys.modules:
        from .daphne import on_stop

        on_stop(callback)


def make_writer(send: Send, on_overflow: Callable[[], None]) -> Writer:
    """Return the writer for the server whose `send` this is; call it once the socket is
    accepted.
    """
    if "daphne.ws_protocol" in sys.modules:
        from .daphne import DaphneWriter, protocol_of

        protocol = protocol_of(server_send(send))
        if protocol is not None:
            return DaphneWriter(send, on_overflow, protocol)
    return Writer(send, on_overflow)
