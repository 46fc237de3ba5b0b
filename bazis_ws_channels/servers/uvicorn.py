"""What uvicorn makes us do."""

from __future__ import annotations

from typing import Any

__all__ = ["abort"]


def abort(send: Any) -> None:
    """Cut the connection whose `send` this is: a method of uvicorn's protocol, which waits until
    the client reads, even for a close.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
