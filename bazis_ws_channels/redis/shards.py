"""Subscriptions in a Redis Cluster.

Sharded channels are each subscribed to at the node of their slot. Other channels are all at one
node, any of them: the others forward to it what is published.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from redis.exceptions import AskError, RedisError

from .arrivals import Deliver
from .cluster import ClusterConnection
from .connection import Connection, connection_to, connection_to_server
from .hosts import Host
from .listener import Listener
from .pubsub import Subscriber
from .topology import slot_of

__all__ = ["ForwardedSubscriber", "ShardedSubscriber", "subscriber_to"]

#: How long channels wait after a change of the map for further ones: slots move one by one.
_GATHER_SECONDS = 0.05
#: How long until the map is read again while a channel has no node.
_RETRY_SECONDS = 0.3


class _ClusterSubscriber(Subscriber):
    """The subscriptions of one event loop at nodes of a Cluster, where its map says.

    Args:
        cluster: the connections to the nodes.
        deliver, on_lost, on_back: see `Subscriber`.
    """

    def __init__(
        self,
        cluster: ClusterConnection[Connection],
        deliver: Deliver,
        on_lost: Callable[[], None],
        on_back: Callable[[], None],
    ) -> None:
        super().__init__(self._any_node, deliver, on_lost, on_back)
        self._cluster = cluster

    def subscribe_to_pattern(self, pattern: str) -> None:
        """Do nothing. Patterns are for channels-redis's own layer, which knows no Cluster; sharded
        channels have none.
        """

    async def _any_node(self) -> Connection:
        return random.choice(await self._cluster.primaries())

    def _start(self) -> None:
        self._cluster.change_listeners.add(self._map_has_changed)

    async def _stop(self) -> None:
        self._cluster.change_listeners.discard(self._map_has_changed)

    def _map_has_changed(self) -> None:
        """React to a change of the Cluster's map."""


class ForwardedSubscriber(_ClusterSubscriber):
    """The subscriptions of one event loop at any node of a Cluster."""

    def _start(self) -> None:
        super()._start()
        self._listener.start()

    async def _stop(self) -> None:
        await super()._stop()
        await self._listener.stop()

    def _map_has_changed(self) -> None:
        """Leave a node that is not one of the Cluster's any more, or silent."""
        host = self._listener.host
        if host is not None and host not in self._cluster.topology.nodes:
            self._listener.reconnect()
        else:
            self._listener.check()


class ShardedSubscriber(_ClusterSubscriber):
    """The subscriptions of one event loop, each at the node of its channel's slot.

    The map of the Cluster says where a channel belongs. It is read again when a node is lost,
    refuses a channel (MOVED) or gives one up because its slot has left, and every few seconds by
    the commands of this event loop. Channels whose node has changed are subscribed to there; what
    was published in between is lost to them, as after any loss.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._homes: dict[str, Host] = {}  # where each wanted channel is asked for
        self._listeners: dict[Host, Listener] = {}
        self._routing: asyncio.TimerHandle | None = None
        self._search: asyncio.Task[None] | None = None
        self._search_error: Exception | None = None
        self._ending: set[asyncio.Future[Any]] = set()

    # --- where the channels are -------------------------------------------------------------

    def _listener_of(self, channel: str) -> Listener | None:
        home = self._homes.get(channel)
        return None if home is None else self._listeners.get(home)

    def _error_of(self, channel: str) -> Exception | None:
        listener = self._listener_of(channel)
        return self._search_error if listener is None else listener.last_error

    async def _stop(self) -> None:
        await super()._stop()
        if self._routing is not None:
            self._routing.cancel()
            self._routing = None
        for node in tuple(self._listeners):
            self._drop(node)
        if self._search is not None:
            self._search.cancel()
            self._ending.add(self._search)
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._homes.clear()

    def _ask_for(self, channel: str) -> None:
        node = self._cluster.topology.node_of(channel)
        if node is None:
            return self._find_soon()
        self._homes[channel] = node
        listener = self._listeners.get(node)
        if listener is None:
            listener = self._listeners[node] = Listener(
                partial(_connection, node), self, self._arrivals
            )
            listener.start()
        listener.command("SSUBSCRIBE", channel)

    def _leave(self, channel: str) -> None:
        listener = self._listener_of(channel)
        self._homes.pop(channel, None)
        if listener is not None:
            listener.command("SUNSUBSCRIBE", channel)

    # --- following the map ------------------------------------------------------------------

    def _map_has_changed(self) -> None:
        """Let the channels follow soon."""
        if self._routing is None:
            loop = asyncio.get_running_loop()
            self._routing = loop.call_later(_GATHER_SECONDS, self._route)

    def _route(self) -> None:
        """Subscribe to each channel where it belongs now."""
        self._routing = None
        node_of = self._cluster.topology.node_of
        wanted = self._subscriptions.wanted
        moved = [each for each in wanted if node_of(each) != self._homes.get(each)]
        for channel in moved:
            self._leave(channel)
        self._lost(moved)
        for channel in moved:
            self._ask_for(channel)
        homes = set(self._homes.values())
        for node in [each for each in self._listeners if each not in homes]:
            self._drop(node)

    def _drop(self, node: Host) -> None:
        ending = self._listeners.pop(node).stop()
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _find_soon(self, failed: Host | None = None) -> None:
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._find(failed))

    async def _find(self, failed: Host | None) -> None:
        """Read the map until every channel has a node."""
        while True:
            try:
                await self._cluster.refresh(failed)
                self._search_error = None
            except (RedisError, OSError) as error:
                self._search_error = error
            self._route()
            if all(channel in self._homes for channel in self._subscriptions.wanted):
                return
            await asyncio.sleep(_RETRY_SECONDS)

    # --- what the listeners tell ------------------------------------------------------------

    def asked(self, listener: Listener, channel: str) -> None:
        """Note that an SSUBSCRIBE was sent to a node."""
        self._subscriptions.asked(channel, listener)

    def connected(self, listener: Listener) -> None:
        """Subscribe to all channels that are to be at the node."""
        for channel in self._channels_at(listener):
            listener.command("SSUBSCRIBE", channel)
        self._ready_if_confirmed()

    def handle(self, listener: Listener, reply: Any) -> tuple[str, bytes] | None:
        """Handle a reply. Return a message's channel and payload."""
        kind = reply[0]
        if kind == b"moved":
            self._refused(listener, reply[1])
        if kind not in (b"smessage", b"ssubscribe", b"sunsubscribe"):
            return None
        channel = reply[1].decode()
        is_home = self._listener_of(channel) is listener
        if kind == b"ssubscribe":
            self._subscriptions.confirm(channel, listener, is_home=is_home)
            self._ready_if_confirmed()
        elif not is_home:
            pass  # from a node that the channel has left: the new node sends the same
        elif kind == b"smessage":
            return self._wanted(channel, reply[2])
        elif self._subscriptions.is_confirmed(channel):
            self._given_up([channel])
        return None

    def disconnected(self, listener: Listener) -> None:
        """Note that all subscriptions at a node are lost, and find out who has its slots now."""
        self._subscriptions.refuse(listener, lambda channel: True)
        self._lost(self._channels_at(listener))
        self._find_soon(self._node_of(listener))

    def _refused(self, listener: Listener, error: AskError) -> None:
        """Note that a node has refused to serve a slot, and find the slot's channels a new node."""
        node, slot = self._node_of(listener), error.slot_id
        if node is not None:
            self._cluster.topology.move(error, node)
        refused = self._subscriptions.refuse(listener, lambda channel: slot_of(channel) == slot)
        self._given_up(each for each in refused if self._listener_of(each) is listener)

    def _given_up(self, channels: Iterable[str]) -> None:
        """Subscribe elsewhere to channels that their node no longer serves."""
        channels = list(channels)
        self._lost(channels)
        for channel in channels:
            self._homes.pop(channel, None)
        self._find_soon()

    def _node_of(self, listener: Listener) -> Host | None:
        return next((node for node, own in self._listeners.items() if own is listener), None)

    def _channels_at(self, listener: Listener) -> list[str]:
        return [each for each in self._homes if self._listener_of(each) is listener]


async def _connection(server: Host) -> Connection:
    return connection_to_server(server)


def subscriber_to(
    host: Host,
    deliver: Deliver,
    on_lost: Callable[[], None],
    on_back: Callable[[], None],
) -> Subscriber:
    """Return the subscriptions of the running event loop at a host."""
    connection = connection_to(host)
    if not isinstance(connection, ClusterConnection):
        return Subscriber(partial(_connection, host), deliver, on_lost, on_back)
    kind = ShardedSubscriber if host.is_sharded else ForwardedSubscriber
    return kind(connection, deliver, on_lost, on_back)
