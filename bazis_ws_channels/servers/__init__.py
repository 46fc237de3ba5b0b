"""What only one ASGI server makes us do, behind names that hold for all of them."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

__all__ = ["on_server_stop"]


def on_server_stop(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback` before the server on the running event loop ends, where it is daphne.

    Other servers let their applications end by themselves.
    """
    if "daphne.ws_protocol" in sys.modules:
        from .daphne import on_stop

        on_stop(callback)
