"""channels-redis's pub/sub channel layer with its known faults mended.

What differs from `channels_redis.pubsub.RedisPubSubChannelLayer`, of which this is a subclass:

- `group_add` returns once Redis has *confirmed* the subscription (there: once it was written),
  so that what is published afterwards arrives.
- The subscriptions live on one connection that is watched: a dead one is noticed by a ping, an
  ``ETIMEDOUT`` ends it (there: the event loop spins), and after a reconnect everything is
  subscribed again, `on_disconnect` and `on_reconnect` are called (there: never).
- A consumer that goes leaves nothing behind: no group entry, no subscription.
- A message is decoded once a process (there: once a consumer), and one that can't be decoded
  hurts nobody (there: it ends every recipient).
- Publishing calls that run at the same time share a round trip.
- A consumer may take its messages without a turn of the event loop (`receive_directly`).
- A process subscribes once for all its consumers' own channels (there: once for each).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer as _ChannelLayer
from channels_redis.pubsub import RedisPubSubLoopLayer, RedisSingleShardConnection
from channels_redis.utils import _wrap_close, decode_hosts
from redis.exceptions import RedisError

from .exceptions import ChannelLayerUnavailable
from .pipe import Pipe

__all__ = ["RedisPubSubChannelLayer"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Seconds without a word from Redis before it is pinged, and then given up.
_PING_SECONDS = 20.0
#: Seconds to wait for a subscription to be confirmed, and for a publishing round trip.
_TIMEOUT_SECONDS = 3.0
#: Names in one SUBSCRIBE, so that a reconnect with 50,000 groups sends no giant command.
_CHUNK = 1000
#: Deliveries after which the event loop gets a turn, however much Redis has sent.
_DELIVERIES_A_TURN = 500


Taker = Callable[[dict[str, Any]], bool]


class RedisPubSubChannelLayer(_ChannelLayer):
    """Drop-in replacement of channels-redis's layer of the same name.

    Args:
        hosts: as in channels-redis; several hosts are shards.
        prefix: put before every Redis channel.
        on_disconnect, on_reconnect: called without arguments, on the event loop, when a shard's
            subscriptions are lost, and when they are all confirmed again.
    """

    def _get_layer(self) -> RedisPubSubLoopLayer:
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer


class _Mailbox(asyncio.Queue[dict[str, Any]]):
    """What waits for one consumer."""

    taker: Taker | None = None

    def deliver(self, message: dict[str, Any]) -> None:
        """Give a message to the taker, or keep it until it is received."""
        if self.taker is None or not self.empty() or not self.taker(message):
            self.put_nowait(message)


class _LoopLayer(RedisPubSubLoopLayer):
    """The layer of one event loop."""

    def __init__(self, hosts: Any = None, **kwargs: Any) -> None:
        super().__init__(hosts, **kwargs)
        self._shards = [_Shard(host, self) for host in decode_hosts(hosts)]
        self._memberships: defaultdict[str, set[str]] = defaultdict(set)
        # All channels of this process share the Redis channel before the "!".
        self._process_channel = f"{self.prefix}.specific.{uuid.uuid4().hex}!"
        #: Called when subscriptions are back after a loss, beside `on_reconnect`.
        self.reconnect_listeners: set[Callable[[], None]] = set()

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a name for a consumer's own channel."""
        await self._get_shard(self._process_channel).subscribe(self._process_channel)
        channel = f"{self._process_channel}{prefix}{uuid.uuid4().hex}"
        self.channels[channel] = _Mailbox()
        return channel

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one consumer."""
        target, own, _ = channel.partition("!")
        if own:
            target, message = target + own, {**message, "__asgi_channel__": channel}
        data = self.channel_layer.serialize(message)
        await self._get_shard(target).publish(target, data)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Return the next message for a channel; the values in it are shared, don't change them.

        A cancelled call means that the consumer is going, as in channels-redis.
        """
        if channel not in self.channels:
            await self._subscribe_to_channel(channel)
        try:
            message = await self.channels[channel].get()
        except (asyncio.CancelledError, GeneratorExit):
            self._forget(channel)
            raise
        return dict(message)

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group; on return, what is sent to the group reaches it.

        Raises:
            ChannelLayerUnavailable: Redis did not confirm in time; the channel isn't added.
        """
        if channel not in self.channels:
            raise RuntimeError(f"group_add() needs a channel of this process, got {channel!r}")
        name = self._get_group_channel_name(group)
        self.groups.setdefault(name, set()).add(channel)
        self._memberships[channel].add(name)
        try:
            await self._get_shard(name).subscribe(name)
        except BaseException:
            self._leave(name, channel)
            raise

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is in it. Waits for nothing."""
        self._leave(self._get_group_channel_name(group), channel)

    def receive_directly(self, channel: str, taker: Taker) -> None:
        """Offer each message for `channel` to `taker` the moment it comes, before `receive`.

        It says whether it took the message; it must not wait, raise, or change the message.
        Nothing overtakes: while `receive` has something to return, all goes there.
        """
        self.channels[channel].taker = taker

    async def deliver(self, name: str, data: bytes) -> int:
        """Hand what Redis sent on channel `name` to the consumers it is for; say how many."""
        try:
            message = dict(self.channel_layer.deserialize(data))
        except Exception:
            logger.exception("A message on %r can't be decoded; it is dropped.", name)
            return 0
        recipients = tuple(self.groups.get(name) or (message.pop("__asgi_channel__", name),))
        for number, recipient in enumerate(recipients, 1):
            mailbox = self.channels.get(recipient)
            if mailbox is not None:
                mailbox.deliver(message)
            if number % _DELIVERIES_A_TURN == 0:
                await asyncio.sleep(0)
        return len(recipients)

    async def _subscribe_to_channel(self, channel: str) -> None:
        self.channels[channel] = _Mailbox()
        await self._get_shard(channel).subscribe(channel)

    def subscriptions_lost(self) -> None:
        """Tell those who asked that messages are being missed."""
        _call(self.on_disconnect)

    def subscriptions_back(self) -> None:
        """Tell those who asked that messages arrive again."""
        _call(self.on_reconnect)
        for listener in tuple(self.reconnect_listeners):
            _call(listener)

    async def flush(self) -> None:
        """Forget everything and close the connections."""
        self._memberships.clear()
        await super().flush()

    def _forget(self, channel: str) -> None:
        self.channels.pop(channel, None)
        for name in self._memberships.pop(channel, set()).copy():
            self._leave(name, channel)
        if "!" not in channel:
            self._get_shard(channel).forget(channel)

    def _leave(self, name: str, channel: str) -> None:
        members = self.groups.get(name, set())
        members.discard(channel)
        if channel in self._memberships:
            self._memberships[channel].discard(name)
            if not self._memberships[channel]:
                del self._memberships[channel]
        if not members and self.groups.pop(name, None) is not None:
            self._get_shard(name).forget(name)


class _Shard(RedisSingleShardConnection):
    """One Redis host: a connection to publish over and one that holds the subscriptions."""

    def __init__(self, host: dict[str, Any], layer: _LoopLayer) -> None:
        super().__init__(host, layer)
        self._pipe = Pipe(host, _TIMEOUT_SECONDS, decode_responses=False)
        self._listener: asyncio.Task[None] | None = None
        self._connection: Any = None  # set while subscriptions can be made
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._unconfirmed: Counter[str] = Counter()
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._commands: list[tuple[str, str]] = []
        self._writes: set[asyncio.Future[None]] = set()
        self._was_lost = False
        self._failures = 0

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish, together with whatever else is published while Redis answers.

        Raises:
            redis.RedisError, OSError: Redis is out of reach.
        """
        await self._pipe.call("PUBLISH", channel, message)

    # --- subscribing ------------------------------------------------------------------------

    async def subscribe(self, channel: str) -> None:
        """Subscribe, and wait until Redis says so.

        Raises:
            ChannelLayerUnavailable: it did not in time.
        """
        if channel in self._confirmed:
            return
        self._wanted.add(channel)
        waiter = self._waiters.get(channel)
        if waiter is None:
            waiter = self._waiters[channel] = asyncio.get_running_loop().create_future()
            self._command("SUBSCRIBE", channel)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen_forever())
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await asyncio.shield(waiter)
        except TimeoutError:
            raise ChannelLayerUnavailable("Redis did not confirm a subscription in time.") from None

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe; waits for nothing."""
        self.forget(channel)

    def forget(self, channel: str) -> None:
        """Unsubscribe soon."""
        if channel not in self._wanted:
            return
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        waiter = self._waiters.pop(channel, None)
        if waiter is not None:
            waiter.cancel()
        self._command("UNSUBSCRIBE", channel)

    def _command(self, verb: str, channel: str) -> None:
        """Send a command at the end of this turn of the loop, together with the others."""
        if self._connection is None:
            return  # whoever connects subscribes to all that is wanted
        if not self._commands:
            asyncio.get_running_loop().call_soon(self._write_commands)
        self._commands.append((verb, channel))

    def _write_commands(self) -> None:
        commands, self._commands = self._commands, []
        connection = self._connection
        if connection is None:
            return
        batches: list[list[str]] = []
        for verb, channel in commands:
            if verb == "SUBSCRIBE":
                self._unconfirmed[channel] += 1
            if batches and batches[-1][0] == verb and len(batches[-1]) <= _CHUNK:
                batches[-1].append(channel)
            else:
                batches.append([verb, channel])
        packed = connection.pack_commands(batches)
        # A failure here ends the connection, which `_listen` notices.
        write = asyncio.ensure_future(connection.send_packed_command(packed, check_health=False))
        self._writes.add(write)
        write.add_done_callback(self._written)

    def _written(self, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()

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
        connection = self._pipe.make_connection()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await connection.connect()
            self._connection = connection
            wanted = list(self._wanted)
            for channel in wanted:
                self._command("SUBSCRIBE", channel)
            if not wanted:
                self._became_ready()
            last_heard, budget = time.monotonic(), _DELIVERIES_A_TURN
            while True:
                reply = await connection.read_response(
                    timeout=_PING_SECONDS, disconnect_on_error=False, push_request=True
                )
                if reply is not None:
                    last_heard = time.monotonic()
                    budget -= await self._handle(reply)
                    if budget <= 0:
                        # What Redis sent at once is read without waiting: let others run.
                        budget = _DELIVERIES_A_TURN
                        await asyncio.sleep(0)
                elif time.monotonic() - last_heard > 2 * _PING_SECONDS:
                    raise TimeoutError("Redis doesn't answer on the subscriptions' connection.")
                else:
                    # Also where redis-py takes an ETIMEDOUT for "nothing came": writing fails.
                    async with asyncio.timeout(_TIMEOUT_SECONDS):
                        await connection.send_command("PING", check_health=False)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)

    async def _handle(self, reply: list[Any]) -> int:
        """Act on what Redis said; return to how many consumers it went."""
        self._failures = 0
        kind = reply[0]
        if kind == b"message":
            return await self.channel_layer.deliver(reply[1].decode(), reply[2])
        if kind == b"subscribe":
            self._was_confirmed(reply[1].decode())
        return 0

    def _was_confirmed(self, channel: str) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] > 0:
            return  # of an earlier SUBSCRIBE; an UNSUBSCRIBE and another are on their way
        del self._unconfirmed[channel]
        if channel in self._wanted:
            self._confirmed.add(channel)
            waiter = self._waiters.pop(channel, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if self._was_lost and self._confirmed >= self._wanted:
            self._became_ready()

    def _became_ready(self) -> None:
        if self._was_lost:
            self._was_lost = False
            logger.info("The subscriptions at Redis are back.")
            self.channel_layer.subscriptions_back()

    def _disconnected(self) -> None:
        """Note that nothing is subscribed any more."""
        self._connection = None
        self._commands.clear()
        self._unconfirmed.clear()
        was_subscribed = bool(self._confirmed)
        for channel in self._confirmed:
            self._waiters.setdefault(channel, asyncio.get_running_loop().create_future())
        self._confirmed.clear()
        if was_subscribed and not self._was_lost:
            self._was_lost = True
            self.channel_layer.subscriptions_lost()

    async def flush(self) -> None:
        """Close both connections and forget all subscriptions."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None
        for waiter in self._waiters.values():
            waiter.cancel()
        for known in (self._waiters, self._wanted, self._confirmed, self._unconfirmed):
            known.clear()
        self._was_lost = False
        await self._pipe.close()


def _call(callback: Callable[[], Any] | None) -> None:
    if callback is not None:
        try:
            callback()
        except Exception:
            logger.exception("A channel layer callback failed.")
