"""Code that uvicorn needs."""

from __future__ import annotations

from typing import Any

__all__ = ["abort"]


def abort(send: Any) -> None:
    """Cut a connection by its `send`, a method of uvicorn's protocol. uvicorn itself would wait
    until the client reads, even to close.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
