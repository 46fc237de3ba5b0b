"""Code that uvicorn needs."""

from __future__ import annotations

import logging
from typing import Any

from ..conf import conf

__all__ = ["abort", "check_limit"]

logger = logging.getLogger("bazis_ws_channels")

#: How many times larger than its compressed form a message is at most.
_DEFLATES_TO = 1032

_checked: set[int] = set()


def check_limit(send: Any) -> None:
    """Warn once if the uvicorn whose `send` this is takes compressed messages that are far larger
    than our limit: of those only the compressed length is seen before it has inflated them.
    """
    protocol = getattr(send, "__self__", None)
    config, limit = getattr(protocol, "config", None), conf.BAZIS_WS_MAX_FRAME_BYTES
    if not getattr(config, "ws_per_message_deflate", False):
        return
    size_bytes = getattr(config, "ws_max_size", 0)
    if type(protocol).__module__.endswith("wsproto_impl"):
        size_bytes = _DEFLATES_TO * limit  # wsproto inflates a frame whole, whatever its size
    if size_bytes in _checked:
        return
    _checked.add(size_bytes)
    if size_bytes > 2 * limit:
        logger.warning(
            "A compressed message may inflate to %d bytes before BAZIS_WS_MAX_FRAME_BYTES can"
            " refuse it: start uvicorn with --ws-per-message-deflate false, or (but for wsproto)"
            " with --ws-max-size %d.",
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
