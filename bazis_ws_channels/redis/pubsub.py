"""Subscriptions on watched connections: confirmed, and renewed after every loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ..exceptions import ChannelLayerUnavailable
from .arrivals import Arrivals, Deliver
from .connection import Connection
from .errors import explain
from .link import TIMEOUT_SECONDS
from .listener import Listener
from .subscriptions import Subscriptions

__all__ = ["Subscriber"]

logger = logging.getLogger("bazis_ws_channels.layers")


class Subscriber:
    """The subscriptions of one event loop at one server.

    Args:
        find: returns the connection that makes the links, and reports when the host turns out to
            be a replica.
        deliver: hands messages out.
        on_lost: called when subscriptions are lost.
        on_back: called when all subscriptions are confirmed again.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Connection]],
        deliver: Deliver,
        on_lost: Callable[[], None],
        on_back: Callable[[], None],
    ) -> None:
        self._on_lost = on_lost
        self._on_back = on_back
        self._arrivals = Arrivals(deliver, self._not_handed_out)
        self._listener = Listener(find, self, self._arrivals)
        self._subscriptions = Subscriptions()
        self._patterns: set[str] = set()
        self._was_lost = self._is_outage_logged = False

    @property
    def is_confirmed(self) -> bool:
        """Whether all wanted channels are subscribed."""
        return self._subscriptions.are_confirmed

    # --- what the layer asks ----------------------------------------------------------------

    async def subscribe(self, channel: str, *, tries: int = 5) -> None:
        """Subscribe to a channel, and wait until Redis says so.

        Raises:
            ChannelLayerUnavailable: it did not in time, or the channel was given up meanwhile.
        """
        if self._subscriptions.is_confirmed(channel):
            return
        waiter, is_new = self._subscriptions.want(channel)
        if is_new:
            self._ask_for(channel)
        self._start()
        asked_at, listener = asyncio.get_running_loop().time(), self._listener_of(channel)
        link = None if listener is None else listener.link
        await asyncio.wait({waiter}, timeout=TIMEOUT_SECONDS / 2)
        if not waiter.done():
            if listener and link is not None and link.heard_at < asked_at:
                listener.reconnect(link)  # a balancer has forgotten the link, it seems
            await asyncio.wait({waiter}, timeout=TIMEOUT_SECONDS / 2)
        if waiter.cancelled():
            raise ChannelLayerUnavailable("The subscription was given up.")
        if not waiter.done():
            await asyncio.sleep(0.05)  # where this loop is behind, the answer is there, unread
            listener, error = self._listener_of(channel), self._error_of(channel)
            is_heard = listener is not None and listener.is_heard_since(asked_at)
            if is_heard and tries > 1 and error is None:
                # While Redis talks, what takes long is our own backlog.
                return await self.subscribe(channel, tries=tries - 1)
            why = f" {explain(error)}" if error else ""
            raise ChannelLayerUnavailable(f"Redis did not confirm a subscription in time.{why}")

    def subscribe_to_pattern(self, pattern: str) -> None:
        """Subscribe to a pattern where Redis permits it. Waits for nothing."""
        if pattern not in self._patterns:
            self._patterns.add(pattern)
            self._listener.command("PSUBSCRIBE", pattern)
            self._start()

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe soon. Does not wait."""
        if self._subscriptions.unwant(channel):
            self._arrivals.forget(channel)
            self._leave(channel)

    async def close(self) -> None:
        """Close the connections and forget all subscriptions."""
        await self._stop()
        await self._arrivals.stop()
        self._subscriptions.clear()
        self._patterns.clear()
        self._was_lost = self._is_outage_logged = False

    # --- where the channels are -------------------------------------------------------------

    def _listener_of(self, channel: str) -> Listener | None:
        return self._listener

    def _error_of(self, channel: str) -> Exception | None:
        return self._listener.last_error

    def _start(self) -> None:
        self._listener.start()

    async def _stop(self) -> None:
        await self._listener.stop()

    def _ask_for(self, channel: str) -> None:
        self._listener.command("SUBSCRIBE", channel)

    def _leave(self, channel: str) -> None:
        self._listener.command("UNSUBSCRIBE", channel)

    # --- what the listener tells ------------------------------------------------------------

    def asked(self, listener: Listener, channel: str) -> None:
        """Note that a SUBSCRIBE was sent."""
        self._subscriptions.asked(channel)

    def connected(self, listener: Listener) -> None:
        """Subscribe to all that is wanted."""
        for pattern in self._patterns:  # before the others, so that a refusal is known for one
            listener.command("PSUBSCRIBE", pattern)
        for channel in self._subscriptions.wanted:
            listener.command("SUBSCRIBE", channel)
        self._ready_if_confirmed()

    def handle(self, listener: Listener, reply: Any) -> tuple[str, bytes] | None:
        """Handle a reply. Return a message's channel and payload."""
        kind = reply[0]
        if kind == b"message":
            return self._wanted(reply[1].decode(), reply[2])
        if kind == b"pmessage":
            return reply[2].decode(), reply[3]
        if kind == b"subscribe":
            self._subscriptions.confirm(reply[1].decode())
            self._ready_if_confirmed()
        return None

    def _wanted(self, channel: str, payload: bytes) -> tuple[str, bytes] | None:
        """Return a message, unless it is of a subscription that was given up: then it is for those
        who have left, even where others have come, whose subscription is not yet confirmed.
        """
        return (channel, payload) if self._subscriptions.is_confirmed(channel) else None

    def outage_logged(self) -> None:
        """Note that the log says that a server is lost."""
        self._is_outage_logged = True

    def disconnected(self, listener: Listener) -> None:
        """Note that all subscriptions are lost."""
        self._lost()

    def _not_handed_out(self, channel: str) -> None:
        """Subscribe again where a message came from, as after any loss."""
        listener = self._listener_of(channel)
        if listener is not None:
            listener.reconnect()

    def _lost(self, channels: Iterable[str] | None = None) -> None:
        """Note that the subscriptions to these channels are lost, or all."""
        if self._subscriptions.lost(channels) and not self._was_lost:
            self._was_lost = True
            self._on_lost()

    def _ready_if_confirmed(self) -> None:
        if not (self._was_lost or self._is_outage_logged) or not self.is_confirmed:
            return
        if self._is_outage_logged:
            logger.error("The subscriptions at Redis are back.")
        was_lost, self._was_lost, self._is_outage_logged = self._was_lost, False, False
        if was_lost:
            self._on_back()
