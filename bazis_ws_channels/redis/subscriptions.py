"""Bookkeeping of subscriptions: what is wanted, asked for and confirmed. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = ["Subscriptions", "batches"]

#: Names in one SUBSCRIBE, so that a reconnect with 50,000 groups sends no giant command.
_CHUNK = 1000
#: Channels of one command must have one slot.
_ONE_BY_ONE = ("SSUBSCRIBE", "SUNSUBSCRIBE")


def batches(commands: Iterable[tuple[str, str]]) -> list[Sequence[str]]:
    """Return ``(verb, channel)`` commands in their order, those of the same verb together
    where Redis takes them so.
    """
    together: list[list[str]] = []
    for verb, channel in commands:
        is_same = bool(together) and together[-1][0] == verb and len(together[-1]) <= _CHUNK
        if is_same and verb not in _ONE_BY_ONE:
            together[-1].append(channel)
        else:
            together.append([verb, channel])
    return list(together)


class Subscriptions:
    """Which channels are wanted, asked for and confirmed. No I/O."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._unconfirmed: Counter[tuple[object, str]] = Counter()  # by server
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

    def asked(self, channel: str, at: object = None) -> None:
        """Note that a SUBSCRIBE was sent, to one of several servers."""
        self._unconfirmed[at, channel] += 1

    def confirm(self, channel: str, at: object = None, *, is_home: bool = True) -> None:
        """Note that Redis confirmed a SUBSCRIBE.

        Args:
            is_home: whether that is where the channel belongs now.
        """
        self._unconfirmed[at, channel] -= 1
        if self._unconfirmed[at, channel] > 0:
            return  # of an earlier SUBSCRIBE; an UNSUBSCRIBE and another are on their way
        del self._unconfirmed[at, channel]
        if channel in self._wanted and is_home:
            self._confirmed.add(channel)
            waiter = self._waiters.pop(channel, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def refuse(self, at: object, matches: Callable[[str], bool]) -> list[str]:
        """Note that a server refuses what was asked of it for these channels; return them."""
        refused = [key for key in self._unconfirmed if key[0] is at and matches(key[1])]
        for key in refused:
            del self._unconfirmed[key]
        return [channel for _, channel in refused]

    def lost(self, channels: Iterable[str] | None = None) -> bool:
        """Note that these channels, or all, are not subscribed any more; True if some were."""
        lost = self._confirmed.intersection(self._confirmed if channels is None else channels)
        for channel in lost:
            self._waiters.setdefault(channel, asyncio.get_running_loop().create_future())
        self._confirmed -= lost
        if channels is None:
            self._unconfirmed.clear()
        return bool(lost)

    def clear(self) -> None:
        """Forget everything."""
        for waiter in self._waiters.values():
            waiter.cancel()
        for known in (self._waiters, self._wanted, self._confirmed, self._unconfirmed):
            known.clear()
