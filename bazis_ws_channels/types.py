"""Types that several modules share: ASGI's, and JSON's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["ASGIApp", "Event", "GroupMessage", "Receive", "Scope", "Send"]

Scope = dict[str, Any]
Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: A channel-layer group and what is sent to it.
GroupMessage = tuple[str, Event]
