"""Subscriptions on one watched connection: confirmed, and renewed after every loss."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from ..counters import counts
from ..exceptions import ChannelLayerUnavailable
from .connection import Connection
from .errors import explain
from .link import TIMEOUT_SECONDS, Link
from .subscriptions import Subscriptions

__all__ = ["Subscriber"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Deliveries after which other tasks get a turn, however much Redis has sent.
_DELIVERIES_A_TURN = 500


class Subscriber:
    """The subscriptions of one event loop at one host.

    Args:
        connection: makes the links, and reports when the host turns out to be a replica.
        deliver: awaited with the channel's name and the payload; returns the number of recipients.
        on_lost: called when the subscriptions are lost.
        on_back: called when all subscriptions are confirmed again.
    """

    def __init__(
        self,
        connection: Connection,
        deliver: Callable[[str, bytes], Awaitable[int]],
        on_lost: Callable[[], None],
        on_back: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._deliver = deliver
        self._on_lost = on_lost
        self._on_back = on_back
        self._listener: asyncio.Task[None] | None = None
        self._link: Link | None = None  # set while subscriptions can be made
        self._subscriptions = Subscriptions()
        self._patterns: set[str] = set()
        self._was_lost = self._is_outage_logged = False
        self._was_connected = False
        self._failures = 0
        self._last_error: Exception | None = None

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
            self._command("SUBSCRIBE", channel)
        self._start()
        asked_at, link = asyncio.get_running_loop().time(), self._link
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                done, _ = await asyncio.wait({waiter}, timeout=TIMEOUT_SECONDS / 2)
                if not done and link is not None and link.heard_at < asked_at:
                    self.reconnect(link)  # a balancer has forgotten the link, it seems
                await asyncio.shield(waiter)
        except TimeoutError:
            await asyncio.sleep(0.05)  # where this loop is behind, the answer is there, unread
            is_heard = self._link is not None and self._link.heard_at > asked_at
            if is_heard and tries > 1 and self._last_error is None:
                # While Redis talks, what takes long is our own backlog.
                return await self.subscribe(channel, tries=tries - 1)
            why = f" {explain(self._last_error)}" if self._last_error else ""
            message = f"Redis did not confirm a subscription in time.{why}"
            raise ChannelLayerUnavailable(message) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if waiter.cancelled() and task is not None and not task.cancelling():
                raise ChannelLayerUnavailable("The subscription was given up.") from None
            raise

    def subscribe_to_pattern(self, pattern: str) -> None:
        """Subscribe to a pattern where Redis permits it. Waits for nothing."""
        if pattern not in self._patterns:
            self._patterns.add(pattern)
            self._command("PSUBSCRIBE", pattern)
            self._start()

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe soon. Does not wait."""
        if self._subscriptions.unwant(channel):
            self._command("UNSUBSCRIBE", channel)

    def _start(self) -> None:
        if self._listener is None or self._listener.done():
            self._connection.demotion_listeners.add(self.reconnect)
            self._connection.failure_listeners.add(self.check)
            self._listener = asyncio.create_task(self._listen_forever())

    def reconnect(self, instead_of: Link | None = None) -> None:
        """Subscribe again over a new connection: the host's name may now mean another server."""
        link = self._link
        if self._listener is not None and link is not None and instead_of in (None, link):
            self._listener.cancel()
            self._disconnected()
            self._listener = asyncio.create_task(self._listen_forever())

    def check(self) -> None:
        """Ping now, and subscribe anew if nothing comes: the server may be gone."""
        if self._link is not None:
            self._link.ask(partial(self.reconnect, self._link))

    def _command(self, verb: str, channel: str) -> None:
        """Send a command; without a link the next one subscribes to all that is wanted."""
        if self._link is not None:
            self._link.command(verb, channel)

    async def close(self) -> None:
        """Close the connection and forget all subscriptions."""
        self._connection.demotion_listeners.discard(self.reconnect)
        self._connection.failure_listeners.discard(self.check)
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        self._subscriptions.clear()
        self._patterns.clear()
        self._was_lost = self._is_outage_logged = False

    # --- listening --------------------------------------------------------------------------

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:
                self._last_error = error
                if self._failures == 0:
                    expected = isinstance(error, RedisError | OSError)
                    what = explain(error) if expected else error
                    logger.error("No subscriptions at Redis: %s", what, exc_info=not expected)
                    self._is_outage_logged = True
            self._failures += 1
            self._disconnected()
            # Up to a second, with jitter, so that not all processes reconnect at once.
            longest = min(1.0, 0.05 * 2 ** min(self._failures, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1))

    async def _listen(self) -> None:
        """Connect, subscribe to all wanted channels, and deliver messages, until an error."""
        link = Link(self._connection.make_link(), self._subscriptions.asked)
        try:
            async with asyncio.timeout(max(TIMEOUT_SECONDS, self._connection.host.connect_seconds)):
                await link.connect()
            counts.redis_reconnects += self._was_connected
            self._was_connected = True
            self._link, self._last_error = link, None
            self._subscribe_to_all()
            await self._read_all(link)
        except GeneratorExit:
            raise  # the event loop was closed under it: nothing can be awaited any more
        except BaseException:
            self._link = None if self._link is link else self._link
            await link.disconnect()
            raise

    def _subscribe_to_all(self) -> None:
        for pattern in self._patterns:  # before the others, so that a refusal is known for one
            self._command("PSUBSCRIBE", pattern)
        for channel in self._subscriptions.wanted:
            self._command("SUBSCRIBE", channel)
        if not self._subscriptions.wanted:
            self._became_ready()

    async def _read_all(self, link: Link) -> None:
        budget = _DELIVERIES_A_TURN
        while True:
            budget -= await self._handle(await link.read())
            if budget <= 0:
                # What Redis sent at once is read without waiting: let others run.
                budget = _DELIVERIES_A_TURN
                await asyncio.sleep(0)

    async def _handle(self, reply: list[Any]) -> int:
        """Handle a reply. Return the number of recipients."""
        self._failures = 0
        kind = reply[0]
        if kind in (b"message", b"pmessage"):
            return await self._deliver(reply[-2].decode(), reply[-1])
        if kind == b"subscribe":
            self._subscriptions.confirm(reply[1].decode())
            if self.is_confirmed:
                self._became_ready()
        return 0

    def _became_ready(self) -> None:
        if self._was_lost or self._is_outage_logged:
            logger.error("The subscriptions at Redis are back.")
        was_lost, self._was_lost, self._is_outage_logged = self._was_lost, False, False
        if was_lost:
            self._on_back()

    def _disconnected(self) -> None:
        """Note that all subscriptions are lost."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._subscriptions.lost() and not self._was_lost:
            self._was_lost = True
            self._on_lost()
