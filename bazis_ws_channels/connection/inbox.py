"""Channel-layer events of one connection, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..types import Event

__all__ = ["Inbox"]

Deliver = Callable[[Event], None]

#: Events of this package, which are delivered without waiting.
_DIRECT = frozenset({"ws.push", "ws.presence"})


class Inbox:
    """Hands events over one after another: those of this package at once, others through the
    consumer's methods, which may wait. Nothing overtakes: while a method runs, all events queue.

    Args:
        layer: the channel layer.
        deliver: takes an event of this package; must not raise.
        dispatch: awaited with any other event.
    """

    def __init__(
        self, layer: Any, deliver: Deliver, dispatch: Callable[[Event], Awaitable[None]]
    ) -> None:
        self.channel = ""
        self._layer = layer
        self._deliver = deliver
        self._dispatch = dispatch
        self._is_dispatching = False

    async def open(self) -> str:
        """Make the connection's own channel and return its name."""
        self.channel = await self._layer.new_channel()
        receive_directly = getattr(self._layer, "receive_directly", None)
        if receive_directly is not None:
            receive_directly(self.channel, self.take)
        return self.channel

    def close(self) -> None:
        """Forget the channel, where the layer can; else it does when `receive` is cancelled."""
        discard = getattr(self._layer, "discard_channel", None)
        if discard is not None and self.channel:
            discard(self.channel)

    async def run(self) -> None:
        """Hand over what comes, for ever: a loop that only waits."""
        receive, channel = self._layer.receive, self.channel
        while True:
            event = await receive(channel)
            if not self.take(event):
                self._is_dispatching = True
                await self._dispatch(event)
                self._is_dispatching = False

    def take(self, event: Event) -> bool:
        """Deliver an event that needs no waiting; False for others, and while one is waited for."""
        if self._is_dispatching or event.get("type") not in _DIRECT:
            return False
        self._deliver(event)
        return True
