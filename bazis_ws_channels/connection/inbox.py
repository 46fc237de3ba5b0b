"""Channel-layer events of one connection, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from channels.layers import InMemoryChannelLayer

from ..parcels import Parcel
from ..types import Event
from .tasks import Tasks

__all__ = ["Inbox"]

#: Events of this package, which are delivered without waiting.
_DIRECT = frozenset({"ws.push", "ws.missed", "ws.presence"})


class Inbox:
    """Delivers events in order: those of this package at once, others through the consumer's
    methods, which may wait. While a method runs, all events queue behind it.

    Args:
        layer: the channel layer.
        tasks: the connection's tasks.
        deliver: called with events of this package.
        dispatch: awaited with any other event.
    """

    def __init__(
        self,
        layer: Any,
        tasks: Tasks,
        deliver: Callable[[Parcel], None],
        dispatch: Callable[[Event], Awaitable[None]],
    ) -> None:
        self.channel = ""
        self._groups: Sequence[str] = ()
        self.layer = layer
        self._tasks = tasks
        self._deliver = deliver
        self._dispatch = dispatch
        self._is_dispatching = False
        self._may_receive = True

    async def open(self, groups: Sequence[str], *on_missed: Callable[[], None]) -> str:
        """Make the connection's own channel, start to deliver its events, and return its name.

        Args:
            groups: those that the channel joins for the connection's whole life.
            on_missed: are called when the layer had lost its subscriptions, where it can tell.
        """
        self.channel = await self.layer.new_channel()
        self._groups = groups
        for group in groups:
            await self.layer.group_add(group, self.channel)
        receive_directly = getattr(self.layer, "receive_directly", None)
        if receive_directly is not None:
            receive_directly(self.channel, self.take)
            self.layer.reconnect_listeners.update(on_missed)
        else:
            self._receive()
        return self.channel

    async def leave_groups(self) -> None:
        """Leave the groups that the channel joined for the session that ends: all but those of the
        connection.
        """
        for group in self._joined():
            if group not in self._groups:
                await self.layer.group_discard(group, self.channel)

    def _joined(self) -> Collection[str]:
        """Return the groups of the channel, where the layer can tell which they are."""
        groups_of = getattr(self.layer, "groups_of", None)
        if groups_of is not None:
            return groups_of(self.channel)
        if isinstance(self.layer, InMemoryChannelLayer):
            return [name for name, members in self.layer.groups.items() if self.channel in members]
        return ()

    async def close(self) -> None:
        """Leave the groups and forget the channel. A layer without `discard_channel` forgets it
        when `receive` is cancelled.
        """
        for group in self._groups:
            await self.layer.group_discard(group, self.channel)
        discard = getattr(self.layer, "discard_channel", None)
        if discard is not None and self.channel:
            discard(self.channel)

    def _receive(self) -> None:
        if self._may_receive:
            self._may_receive = False
            self._tasks.spawn(self._run())

    def stop(self) -> None:
        """Wait for no event from now on: the tasks of the connection end."""
        self._may_receive = False

    async def _run(self) -> None:
        """Deliver events for ever."""
        receive, channel = self.layer.receive, self.channel
        while True:
            event = await receive(channel)
            if not self.take(Parcel(event)):
                self._is_dispatching = True
                await self._tasks.guard(self._dispatch(event))
                self._is_dispatching = False

    def take(self, parcel: Parcel) -> bool:
        """Deliver events at once. Return False for those that must wait their turn.

        Most connections never get one that must: the task that awaits them starts with the first.
        """
        if self._is_dispatching or parcel.kind not in _DIRECT:
            self._receive()
            return False
        try:
            self._deliver(parcel)
        except Exception:
            # Any project code may have sent them; an exception must not reach the layer.
            self._tasks.guard.log_exception("A delivery failed")
            self._tasks.spawn(self._tasks.guard.fail_internally())
        return True
