"""Code that a particular ASGI server needs, behind an interface for all servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ..types import Receive, Send
from .collector import calm_collector
from .reader import Budget, Reader
from .writer import Writer, server_send

__all__ = ["has_arrived", "make_reader", "make_writer", "on_server_stop"]


async def has_arrived(send: Any) -> bool:
    """Let others that are open have their turn; then tell whether the connection whose `send`
    this is is still there, as far as its server knows.
    """
    calm_collector()
    if "uvicorn" in sys.modules:
        from .sluice import sluice_of

        # Before the client's frames, if it keeps to the protocol.
        sluice = sluice_of(server_send(send))
        if sluice is not None:
            await sluice.look_back()
    if "daphne.ws_protocol" not in sys.modules:
        return True
    from .daphne import answer_at_once, protocol_of
    from .daphne_options import limit_early_data, pace_accepts

    protocol = protocol_of(server_send(send))
    if protocol is None:
        return True
    pace_accepts(protocol.transport)
    limit_early_data(protocol)
    answer_at_once(protocol.transport)
    for _ in range(2):
        await asyncio.sleep(0)  # the end of the connection may be right behind its request
    return bool(protocol.state != protocol.STATE_CLOSED)


def on_server_stop(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback` before the server on the running event loop ends, if it is daphne.

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
        from .sluice import sluice_of
        from .uvicorn import check_limit
        from .uvicorn_reader import UvicornReader

        check_limit(server_send(send))
        sluice = sluice_of(server_send(send))
        if sluice is not None:
            return UvicornReader(receive, budget, is_full, sluice)
    return Reader(receive)
