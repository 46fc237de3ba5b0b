"""channels-redis's pub/sub channel layer with its known faults mended.

What differs from `channels_redis.pubsub.RedisPubSubChannelLayer`, of which this is a subclass:

- `group_add` returns once Redis has *confirmed* the subscription (there: once it was written),
  so that later messages arrive.
- The subscriptions live on one connection that is watched: a dead one is noticed by a ping, an
  ``ETIMEDOUT`` ends it (there: the event loop spins), and after a reconnect everything is
  subscribed again, `on_disconnect` and `on_reconnect` are called (there: never).
- A consumer that ends leaves no group entry and no subscription behind. A `receive` that
  was only interrupted loses nothing: the channel stays open for some seconds.
- A message that can't be decoded is logged and dropped (there: it ends every recipient).
- Publishing calls that run at the same time share a round trip, many messages are one call
  (`group_send_many`), and sync code publishes without an event loop (`group_send_blocking`).
- A consumer may take its messages without a turn of the event loop (`receive_directly`).
- A process subscribes once for all its consumers' own channels (there: once for each). What
  channels-redis's own layer sends to one of them arrives too, where Redis permits a pattern.
- A ``ws.push`` with the key ``record`` is appended to its group's stream, where somebody holds a
  position of it, in the script that publishes it. What the subscriptions then miss is read from
  the stream and handed out in its place; what can't be read any more is told as ``ws.missed``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from channels.layers import InMemoryChannelLayer as _InMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer as _ChannelLayer

from .history.batch import Batch
from .history.commands import Message, publish
from .history.follower import Follower, Received
from .history.healer import Healer
from .history.memory import MemoryStreams
from .history.positions import Position, unpack
from .history.redis import RedisStreams
from .loops import LoopLocal, Turn
from .membership import Mailbox, Membership, Taker
from .parcels import Parcel
from .redis.blocking import exchange
from .redis.breaker import Breaker
from .redis.commands import Command
from .redis.connection import connection_to, exchange_all
from .redis.hosts import Host, hosts_of, shard_of
from .redis.pubsub import Subscriber
from .redis.shards import subscriber_to
from .types import Event, GroupMessage

__all__ = ["InMemoryChannelLayer", "RedisPubSubChannelLayer"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Recipients after which the clock is looked at: the event loop may be due a turn.
_RECIPIENTS_A_LOOK = 16
#: How long a channel stays open after a cancelled `receive`.
_CLOSE_SECONDS = 10.0
#: Ends the part of a consumer's channel name that all those of its process share.
_SHARED = "!"
#: Key of a message to one consumer: its channel, as in channels-redis's other layer.
_ADDRESSEE = "__asgi_channel__"


class RedisPubSubChannelLayer(_ChannelLayer):  # type: ignore[misc]
    """Drop-in replacement of channels-redis's layer of the same name.

    Args:
        hosts: as in channels-redis; several hosts are shards. Or one Redis Cluster:
            ``[{"cluster": [("10.0.0.1", 7000), ...]}]``.
        prefix: put before every Redis channel; the number of the first host's database follows,
            unless it is 0.
        on_disconnect, on_reconnect: called without arguments, on the event loop, when a shard's
            subscriptions are lost, and when they are all confirmed again.
        options: as in channels-redis: ``symmetric_encryption_keys``, ``serializer_format``.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        hosts: Any = None,
        prefix: str = "asgi",
        on_disconnect: Callable[[], Any] | None = None,
        on_reconnect: Callable[[], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(hosts=hosts, prefix=prefix, **options)
        self.hosts = hosts_of(hosts)
        # Database numbers don't separate pub/sub: two projects on one Redis would hear each other.
        number = self.hosts[0].database
        self.prefix = f"{prefix}.{number}" if number else prefix
        has_one_server = len(self.hosts) == 1 and not self.hosts[0].is_cluster
        #: Whether Redis has just failed; None where one of several servers may.
        self.breaker = Breaker() if has_one_server else None
        self.on_disconnect = on_disconnect
        self.on_reconnect = on_reconnect
        self.streams = RedisStreams(self, lambda: self._parts.get().healer)
        self._parts: LoopLocal[_LoopPart] = LoopLocal(lambda: _LoopPart(self), _LoopPart.close)

    def __getattr__(self, name: str) -> Any:
        # The base class would make its own connections for a name that it doesn't know.
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --- sending ----------------------------------------------------------------------------

    async def send(self, channel: str, message: Event) -> None:
        """Send a message to one consumer."""
        process, mark, own = channel.partition(_SHARED)
        if own:
            await self._publish(process + mark, {**message, _ADDRESSEE: channel})
        else:  # a channel of channels-redis's own layer
            await self._publish(channel, message)

    async def group_send(self, group: str, message: Event) -> None:
        """Send a message to all members of a group.

        Raises:
            redis.RedisError, OSError: Redis is out of reach.
        """
        await self._publish(self.group_name(group), message)

    async def group_send_many(
        self, messages: Iterable[GroupMessage], before: tuple[Host, Command] | None = None
    ) -> Any:
        """Send group messages together. Takes, returns and raises what its blocking twin does."""
        batch = self._batch(messages, before)
        return batch.reply(await exchange_all(batch.commands()))

    def group_send_blocking(
        self,
        messages: Iterable[GroupMessage],
        limit_seconds: float,
        before: tuple[Host, Command] | None = None,
    ) -> Any:
        """Send group messages from sync code, together.

        Args:
            limit_seconds: for all of it.
            before: a command that is written with them and done before them, and its host.

        Returns:
            The reply to `before`, an exception if there is none or it is an error.

        Raises:
            redis.RedisError, OSError: Redis is out of reach or refuses a message.
        """
        batch = self._batch(messages, before)
        return batch.reply(exchange(batch.commands(), limit_seconds))

    def _batch(
        self, messages: Iterable[GroupMessage], before: tuple[Host, Command] | None
    ) -> Batch:
        shards: dict[Host, list[Message]] = {}
        for group, event in messages:
            name = self.group_name(group)
            shards.setdefault(self.host_of(name), []).append(self._message(name, event))
        return Batch(shards, before)

    async def _publish(self, name: str, event: Event) -> None:
        host = self.host_of(name)
        [command] = publish(host, [self._message(name, event)])
        await connection_to(host).call(command)

    def _message(self, name: str, event: Event) -> Message:
        event, record, once = _taken_apart(event)
        return Message(name, self.serialize(event), record, once)

    # --- receiving --------------------------------------------------------------------------

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a name for a consumer's own channel."""
        return await self._parts.get().new_channel(prefix)

    async def receive(self, channel: str) -> Event:
        """Return the next message for a channel, a copy for this caller alone.

        A channel whose `receive` was cancelled is forgotten some seconds later, unless it is
        received from again.
        """
        return await self._parts.get().receive(channel)

    def receive_directly(self, channel: str, taker: Taker) -> None:
        """Offer all messages for `channel` to `taker` the moment they come, before `receive`.

        It says whether it took them; it must not wait, raise, or change them, for others share
        them. Nothing overtakes: while `receive` has something to return, all goes there.
        """
        self._parts.get().members.channels[channel].taker = taker

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group; on return, what is sent to the group reaches it.

        Raises:
            ChannelLayerUnavailable: Redis did not confirm in time; the channel isn't added.
            RuntimeError: `channel` isn't a channel of this event loop.
        """
        await self._parts.get().group_add(self.group_name(group), channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is in it. Waits for nothing."""
        self._parts.get().group_discard(self.group_name(group), channel)

    def groups_of(self, channel: str) -> list[str]:
        """Return the groups that a channel of this event loop is in."""
        names = self._parts.get().members.groups_of(channel)
        return [name.removeprefix(self.group_name("")) for name in names]

    def discard_channel(self, channel: str) -> None:
        """Forget a channel and its memberships at once, because its consumer is gone."""
        self._parts.get().forget(channel)

    async def flush(self) -> None:
        """Forget everything and close the connections of this event loop."""
        await self._parts.get().close()
        for host in self.hosts:
            await connection_to(host).rest()

    @property
    def reconnect_listeners(self) -> set[Callable[[], None]]:
        """Called when the subscriptions of this event loop are back after a loss."""
        return self._parts.get().reconnect_listeners

    @property
    def channels(self) -> dict[str, Mailbox]:
        """The open channels of this event loop."""
        return self._parts.get().members.channels

    @property
    def groups(self) -> dict[str, set[str]]:
        """The members of this event loop's groups, by Redis channel."""
        return self._parts.get().members.groups

    @property
    def is_subscribed(self) -> bool | None:
        """Whether all that this event loop listens to is confirmed; None if it is nothing yet."""
        part = self._parts.peek()
        return None if part is None else part.is_subscribed

    def decode(self, data: bytes) -> Event:
        """Return the event in what Redis sent; one that is recorded has its ``position``."""
        return self.read(data).event

    def read(self, data: bytes) -> Received:
        """Return what Redis sent, decoded."""
        entry = unpack(data)
        if entry is None:
            return Received(None, dict(self.deserialize(data)), data)
        event = {**self.deserialize(entry.payload), "position": entry.position}
        return Received(entry, event, data)

    # --- names ------------------------------------------------------------------------------

    def host_of(self, name: str) -> Host:
        """Return the shard of a Redis channel."""
        return shard_of(name, self.hosts)

    def group_name(self, group: str) -> str:
        """Return a group's Redis channel, as channels-redis names it (in database 0)."""
        return f"{self.prefix}__group__{group}"


class _LoopPart:
    """The layer's state on one event loop: memberships, and a subscriber for each host."""

    def __init__(self, layer: RedisPubSubChannelLayer) -> None:
        self._layer = layer
        self.members = Membership()
        self.reconnect_listeners: set[Callable[[], None]] = set()
        self.healer = Healer(layer.host_of, layer.decode, self._hand_out, self._tell_break)
        self._subscribers = {
            host: subscriber_to(host, self.deliver, self._lost, self._back) for host in layer.hosts
        }
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    async def new_channel(self, prefix: str) -> str:
        """Return a new name; what this layer sends to it comes on the part up to the mark."""
        shared = f"{self._layer.prefix}{prefix}{self._process}{_SHARED}"
        for subscriber in self._subscribers.values():
            # channels-redis's own layer publishes on the whole name, which may have any shard.
            subscriber.subscribe_to_pattern(_escaped(shared) + "?*")
        await self._subscriber(shared).subscribe(shared)
        channel = f"{shared}{next(self._numbers)}"
        self.members.open(channel)
        return channel

    async def receive(self, channel: str) -> Event:
        """Return the next message for a channel."""
        mailbox = self.members.channels.get(channel)
        if mailbox is None:
            mailbox = self.members.open(channel)
            await self._subscriber(channel).subscribe(channel)
        mailbox.stay_open()
        try:
            data = await mailbox.get()
        except (asyncio.CancelledError, GeneratorExit):
            if self.members.channels.get(channel) is mailbox:
                loop = asyncio.get_running_loop()
                mailbox.closing = loop.call_later(_CLOSE_SECONDS, self.forget, channel)
            raise
        event = self._layer.decode(data)
        event.pop(_ADDRESSEE, None)
        return event

    async def group_add(self, name: str, channel: str) -> None:
        """Add a channel to a group, by its Redis channel, and await the subscription."""
        if channel not in self.members.channels:
            raise RuntimeError(f"group_add() needs a channel of this process, got {channel!r}")
        self.members.add(name, channel)
        try:
            await self._subscriber(name).subscribe(name)
        except BaseException:
            self.group_discard(name, channel)
            raise

    def group_discard(self, name: str, channel: str) -> None:
        """Remove a channel from a group, by its Redis channel."""
        if self.members.discard(name, channel):
            self._subscriber(name).unsubscribe(name)

    def forget(self, channel: str) -> None:
        """Forget a channel, its memberships and its own subscription."""
        for name in self.members.close(channel):
            self._subscriber(name).unsubscribe(name)
        if _SHARED not in channel:
            self._subscriber(channel).unsubscribe(channel)

    async def deliver(self, name: str, payloads: Sequence[bytes]) -> None:
        """Hand what Redis sent on channel `name` to the consumers it is for."""
        messages = deque(self._read_all(name, payloads))
        while messages:
            follower = self.healer.followers.get(name)
            parcel = self._next_parcel(follower, messages)
            if parcel is None:
                continue
            if follower is None:
                await self._hand_out(name, parcel)
            else:
                await self.healer.hand_out(name, follower, parcel)

    def _read_all(self, name: str, payloads: Sequence[bytes]) -> Iterator[Received]:
        for payload in payloads:
            try:
                yield self._layer.read(payload)
            except Exception:
                logger.exception("A message on %r can't be decoded; it is dropped.", name)

    def _next_parcel(self, follower: Follower | None, messages: deque[Received]) -> Parcel | None:
        """Return the next messages that are handed out together; None if they are held back."""
        parcel: Parcel | None = None
        while messages:
            _, event, data = messages[0]
            if parcel is not None and (_ADDRESSEE in event or not parcel.fits(event, data)):
                break
            message = messages.popleft()
            if follower is not None and not self.healer.admits(follower, message):
                break
            if parcel is None:
                parcel = Parcel(event, data)
            else:
                parcel.add(event, data)
        return parcel

    async def _hand_out(self, name: str, parcel: Parcel) -> None:
        addressee = parcel.events[0].pop(_ADDRESSEE, None)
        recipients = self.members.recipients(name) if addressee is None else (addressee,)
        channels, turn = self.members.channels, Turn()
        for number, recipient in enumerate(recipients, 1):
            mailbox = channels.get(recipient)
            if mailbox is not None:
                mailbox.deliver(parcel)
            if number % _RECIPIENTS_A_LOOK == 0 and turn.is_over:
                await turn.end()

    @property
    def is_subscribed(self) -> bool:
        """Whether all that is wanted is subscribed."""
        return all(subscriber.is_confirmed for subscriber in self._subscribers.values())

    def _tell_break(self, name: str, top: Position) -> None:
        """Tell a group's members that messages are lost, and where its stream goes on."""
        group = name.removeprefix(self._layer.group_name(""))
        event = {"type": "ws.missed", "group": group, "position": top}
        data = self._layer.serialize({**event, "position": list(top)})
        parcel = Parcel(event, data)
        for recipient in self.members.recipients(name):
            mailbox = self.members.channels.get(recipient)
            if mailbox is not None:
                mailbox.deliver(parcel)

    async def close(self) -> None:
        """Forget everything and close the subscriptions."""
        await self.healer.close()
        self.members.clear()
        for subscriber in self._subscribers.values():
            await subscriber.close()

    def _subscriber(self, name: str) -> Subscriber:
        return self._subscribers[self._layer.host_of(name)]

    def _lost(self) -> None:
        _call(self._layer.on_disconnect)

    def _back(self) -> None:
        self.healer.heal()
        _call(self._layer.on_reconnect)
        for listener in tuple(self.reconnect_listeners):
            _call(listener)


class InMemoryChannelLayer(_InMemoryChannelLayer):  # type: ignore[misc]
    """channels' layer for one process, with streams: replay as with Redis, for development.

    No message is dropped because a queue is full: consumers take theirs without waiting.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.streams = MemoryStreams()

    def get_capacity(self, channel: str) -> int:
        """Return how many messages may wait for a channel: 0, any number."""
        return 0

    async def group_send(self, group: str, message: Event) -> None:
        """Send a message to all members of a group."""
        message, record, once = _taken_apart(message)
        if once is not None and not self.streams.claim(group, once):
            return
        position = self.streams.append(group, message) if record else None
        if position is not None:
            message = {**message, "position": position}
        await super().group_send(group, message)

    async def flush(self) -> None:
        """Forget everything."""
        self.streams.clear()
        await super().flush()


def _taken_apart(message: Event) -> tuple[Event, bool, str | None]:
    """Return what a message tells consumers, whether to record it, and the digest of its
    idempotency key. Projects' own events may use the same keys for something else.
    """
    if message.get("type") != "ws.push":
        return message, False, None
    message = dict(message)
    record, once = message.pop("record", False), message.pop("once", None)
    return message, record, once


@lru_cache(maxsize=32)
def _escaped(text: str) -> str:
    """Return a Redis pattern that matches `text` alone: for each new channel the same."""
    return re.sub(r"([\\*?\[\]^])", r"\\\1", text)


def _call(callback: Callable[[], Any] | None) -> None:
    if callback is not None:
        try:
            callback()
        except Exception:
            logger.exception("A channel layer callback failed.")
