"""Subscriptions on one watched connection: confirmed, and made again after every loss."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from redis.exceptions import RedisError

from ..exceptions import ChannelLayerUnavailable
from .connection import Connection

__all__ = ["Subscriber"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Seconds without a word from Redis before it is pinged, and then given up.
_PING_SECONDS = 20.0
#: Seconds to wait for a connection, and for a subscription to be confirmed.
_TIMEOUT_SECONDS = 3.0
#: Names in one SUBSCRIBE, so that a reconnect with 50,000 groups sends no giant command.
_CHUNK = 1000
#: Deliveries after which the event loop gets a turn, however much Redis has sent.
_DELIVERIES_A_TURN = 500
#: Turns of the event loop in which what came meanwhile is read, before Redis counts as silent.
_LAST_TURNS = 5
#: The commands for a channel and for a pattern.
_SUBSCRIBE = ("SUBSCRIBE", "PSUBSCRIBE")
_UNSUBSCRIBE = ("UNSUBSCRIBE", "PUNSUBSCRIBE")


class Subscriptions:
    """Which channels are wanted, asked for and confirmed. No I/O.

    A name that ends in "*" is a pattern.
    """

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._unconfirmed: Counter[str] = Counter()
        self._waiters: dict[str, asyncio.Future[None]] = {}

    @property
    def wanted(self) -> Collection[str]:
        """All that is wanted."""
        return self._wanted

    @property
    def are_confirmed(self) -> bool:
        """Whether everything that is wanted is subscribed."""
        return self._confirmed >= self._wanted

    def is_confirmed(self, channel: str) -> bool:
        """Tell whether what is published on a channel arrives."""
        return channel in self._confirmed

    def want(self, channel: str) -> tuple[asyncio.Future[None], bool]:
        """Want a channel; return what is done when it is confirmed, and whether it is new."""
        self._wanted.add(channel)
        waiter = self._waiters.get(channel)
        if waiter is not None:
            return waiter, False
        waiter = self._waiters[channel] = asyncio.get_running_loop().create_future()
        return waiter, True

    def unwant(self, channel: str) -> bool:
        """Want a channel no longer; False if it was not wanted."""
        if channel not in self._wanted:
            return False
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        waiter = self._waiters.pop(channel, None)
        if waiter is not None:
            waiter.cancel()
        return True

    def asked(self, channel: str) -> None:
        """Note that a SUBSCRIBE was sent."""
        self._unconfirmed[channel] += 1

    def confirm(self, channel: str) -> None:
        """Note that Redis confirmed a SUBSCRIBE."""
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] > 0:
            return  # of an earlier SUBSCRIBE; an UNSUBSCRIBE and another are on their way
        del self._unconfirmed[channel]
        if channel in self._wanted:
            self._confirmed.add(channel)
            waiter = self._waiters.pop(channel, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def lost(self) -> bool:
        """Note that nothing is subscribed any more; True if something was."""
        self._unconfirmed.clear()
        had_some = bool(self._confirmed)
        for channel in self._confirmed:
            self._waiters.setdefault(channel, asyncio.get_running_loop().create_future())
        self._confirmed.clear()
        return had_some

    def clear(self) -> None:
        """Forget everything."""
        for waiter in self._waiters.values():
            waiter.cancel()
        for known in (self._waiters, self._wanted, self._confirmed, self._unconfirmed):
            known.clear()


class Subscriber:
    """The subscriptions of one event loop at one host.

    Args:
        connection: makes the links, and tells when the host turned out to be a replica.
        deliver: awaited with the channel's name and the payload; returns to how many it went.
        on_lost: called when subscriptions are lost.
        on_back: called when all of them are confirmed again.
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
        self._link: Any = None  # set while subscriptions can be made
        self._subscriptions = Subscriptions()
        self._commands: list[tuple[str, str]] = []
        self._writes: set[asyncio.Future[None]] = set()
        self._was_lost = False
        self._failures = 0
        self._replies = 0
        connection.demotion_listeners.add(self.reconnect)

    @property
    def is_confirmed(self) -> bool:
        """Whether everything that is wanted is subscribed."""
        return self._subscriptions.are_confirmed

    # --- what the layer asks ----------------------------------------------------------------

    async def subscribe(self, channel: str) -> None:
        """Subscribe to a channel, or to a pattern that ends in "*", and wait until Redis says so.

        Raises:
            ChannelLayerUnavailable: it did not in time.
        """
        if self._subscriptions.is_confirmed(channel):
            return
        waiter, is_new = self._subscriptions.want(channel)
        if is_new:
            self._command(_SUBSCRIBE[channel.endswith("*")], channel)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen_forever())
        while not waiter.done():
            replies = self._replies
            await asyncio.wait({waiter}, timeout=_TIMEOUT_SECONDS)
            if not waiter.done() and not await self._hears_since(replies):
                raise ChannelLayerUnavailable("Redis did not confirm a subscription in time.")
        await waiter

    async def _hears_since(self, replies: int) -> bool:
        """Tell whether Redis has said anything since it had said so much. While it talks, what
        takes long is our own backlog. What it has said may be unread: this loop may have been
        busy for all that time.
        """
        for _ in range(_LAST_TURNS):
            if self._replies != replies:
                return True
            await asyncio.sleep(0.01)
        return self._replies != replies

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe soon; waits for nothing."""
        if self._subscriptions.unwant(channel):
            self._command(_UNSUBSCRIBE[channel.endswith("*")], channel)

    def reconnect(self) -> None:
        """Subscribe anew over a new connection: the host's name may mean another server now."""
        if self._link is not None and self._listener is not None:
            self._listener.cancel()
            self._disconnected()
            self._listener = asyncio.create_task(self._listen_forever())

    async def close(self) -> None:
        """Close the connection and forget all subscriptions."""
        self._connection.demotion_listeners.discard(self.reconnect)
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        self._subscriptions.clear()
        self._was_lost = False

    # --- writing ----------------------------------------------------------------------------

    def _command(self, verb: str, channel: str) -> None:
        """Send a command at the end of this turn of the loop, together with the others."""
        if self._link is None:
            return  # the next connection subscribes to all that is wanted
        if not self._commands:
            asyncio.get_running_loop().call_soon(self._write_commands)
        self._commands.append((verb, channel))

    def _write_commands(self) -> None:
        commands, self._commands = self._commands, []
        link = self._link
        if link is None:
            return
        batches: list[list[str]] = []
        for verb, channel in commands:
            if verb in _SUBSCRIBE:
                self._subscriptions.asked(channel)
            if batches and batches[-1][0] == verb and len(batches[-1]) <= _CHUNK:
                batches[-1].append(channel)
            else:
                batches.append([verb, channel])
        packed = link.pack_commands(batches)
        # A failure here ends the connection, which `_listen` notices.
        write = asyncio.ensure_future(link.send_packed_command(packed, check_health=False))
        self._writes.add(write)
        write.add_done_callback(self._written)

    def _written(self, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()

    # --- listening --------------------------------------------------------------------------

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:
                if self._failures == 0:
                    expected = isinstance(error, RedisError | OSError)
                    logger.error("No subscriptions at Redis: %s", error, exc_info=not expected)
            self._failures += 1
            self._disconnected()
            # Up to a second, so that Redis comes back to a fleet of processes bit by bit.
            longest = min(1.0, 0.05 * 2 ** min(self._failures, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1))

    async def _listen(self) -> None:
        """Connect, subscribe to all that is wanted, and hand out what comes, until an error."""
        link = self._connection.make_link()
        try:
            async with asyncio.timeout(
                max(_TIMEOUT_SECONDS, self._connection.host.connect_seconds)
            ):
                await link.connect()
            self._link = link
            self._subscribe_to_all()
            await self._read_all(link)
        finally:
            if self._link is link:
                self._link = None
            await link.disconnect(nowait=True)

    def _subscribe_to_all(self) -> None:
        for channel in self._subscriptions.wanted:
            self._command(_SUBSCRIBE[channel.endswith("*")], channel)
        if not self._subscriptions.wanted:
            self._became_ready()

    async def _read_all(self, link: Any) -> None:
        budget, pinged, silent = _DELIVERIES_A_TURN, False, False
        while True:
            reply = await link.read_response(
                timeout=1.0 if silent else _PING_SECONDS,
                disconnect_on_error=False,
                push_request=True,
            )
            if reply is not None:
                budget -= await self._handle(reply)
                if budget <= 0:
                    # What Redis sent at once is read without waiting: let others run.
                    budget = _DELIVERIES_A_TURN
                    await asyncio.sleep(0)
                pinged = silent = False
            elif silent:
                raise TimeoutError("Redis doesn't answer on the subscriptions' connection.")
            elif pinged:
                # If this loop was busy for all that time, the answer is there.
                silent = True
            else:
                # Also where redis-py takes an ETIMEDOUT for "nothing came": writing fails.
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await link.send_command("PING", check_health=False)
                pinged = True

    async def _handle(self, reply: list[Any]) -> int:
        """Act on what Redis said; return to how many it went."""
        self._failures = 0
        self._replies += 1
        kind = reply[0]
        if kind in (b"message", b"pmessage"):
            return await self._deliver(reply[-2].decode(), reply[-1])
        if kind in (b"subscribe", b"psubscribe"):
            self._subscriptions.confirm(reply[1].decode())
            if self._was_lost and self.is_confirmed:
                self._became_ready()
        return 0

    def _became_ready(self) -> None:
        if self._was_lost:
            self._was_lost = False
            logger.error("The subscriptions at Redis are back.")
            self._on_back()

    def _disconnected(self) -> None:
        """Note that nothing is subscribed any more."""
        self._link = None
        self._commands.clear()
        if self._subscriptions.lost() and not self._was_lost:
            self._was_lost = True
            self._on_lost()
