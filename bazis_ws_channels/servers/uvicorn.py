"""Code that uvicorn needs."""

from __future__ import annotations

import logging
from typing import Any

from ..conf import conf

__all__ = ["abort", "check_limit"]

logger = logging.getLogger("bazis_ws_channels")

_checked: set[int] = set()


def check_limit(send: Any) -> None:
    """Warn once if the uvicorn whose `send` this is takes larger frames than we do: it holds
    unfinished ones in memory, and can't be told by the application.
    """
    config = getattr(getattr(send, "__self__", None), "config", None)
    size_bytes, limit = getattr(config, "ws_max_size", 0), conf.BAZIS_WS_MAX_FRAME_BYTES
    if size_bytes in _checked:
        return
    _checked.add(size_bytes)
    if size_bytes > 2 * limit:
        logger.warning(
            "uvicorn takes frames of up to %d bytes before BAZIS_WS_MAX_FRAME_BYTES can refuse"
            " them: start it with --ws-max-size %d.",
            size_bytes,
            2 * limit,
        )


def abort(send: Any) -> None:
    """Cut a connection by its `send`, a method of uvicorn's protocol. uvicorn itself would wait
    until the client reads, even to close.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
