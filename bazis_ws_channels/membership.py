"""Group members and undelivered messages of one event loop. No I/O."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection

from .parcels import Parcel

__all__ = ["Mailbox", "Membership", "Taker"]

#: Handles messages at once and returns True, or returns False.
Taker = Callable[[Parcel], bool]


class Mailbox(asyncio.Queue[bytes]):
    """Queue of undelivered messages for one channel, as Redis sent them."""

    def __init__(self) -> None:
        super().__init__()
        self.taker: Taker | None = None
        #: Timer that closes the channel some seconds after a `receive` was cancelled.
        self.closing: asyncio.TimerHandle | None = None

    def deliver(self, parcel: Parcel) -> None:
        """Hand messages to the taker; otherwise queue them for `receive`."""
        if self.taker is None or not self.empty() or not self.taker(parcel):
            for payload in parcel.payloads:
                self.put_nowait(payload)

    def stay_open(self) -> None:
        """Stop the timer that would close the channel."""
        if self.closing is not None:
            self.closing.cancel()
            self.closing = None


class Membership:
    """The channels of one event loop and their groups."""

    def __init__(self) -> None:
        self.channels: dict[str, Mailbox] = {}
        self.groups: dict[str, set[str]] = {}
        self._groups_of: defaultdict[str, set[str]] = defaultdict(set)

    def open(self, channel: str) -> Mailbox:
        """Make a mailbox for a channel."""
        mailbox = self.channels[channel] = Mailbox()
        return mailbox

    def add(self, group: str, channel: str) -> None:
        """Add a channel to a group."""
        self.groups.setdefault(group, set()).add(channel)
        self._groups_of[channel].add(group)

    def discard(self, group: str, channel: str) -> bool:
        """Remove a channel from a group. Return True if that emptied the group."""
        groups = self._groups_of.get(channel)
        if groups is not None:
            groups.discard(group)
            if not groups:
                del self._groups_of[channel]
        members = self.groups.get(group)
        if members is None:
            return False
        members.discard(channel)
        if members:
            return False
        del self.groups[group]
        return True

    def groups_of(self, channel: str) -> list[str]:
        """Return the groups of a channel."""
        return list(self._groups_of.get(channel, ()))

    def close(self, channel: str) -> list[str]:
        """Forget a channel; return the groups that this emptied."""
        mailbox = self.channels.pop(channel, None)
        if mailbox is not None:
            mailbox.stay_open()
        return [group for group in self.groups_of(channel) if self.discard(group, channel)]

    def recipients(self, name: str) -> Collection[str]:
        """Return the channels that a message sent to a group or a channel is for."""
        members = self.groups.get(name)
        return tuple(members) if members else (name,)

    def clear(self) -> None:
        """Forget everything."""
        for mailbox in self.channels.values():
            mailbox.stay_open()
        self.channels.clear()
        self.groups.clear()
        self._groups_of.clear()
