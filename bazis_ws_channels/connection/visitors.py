"""Anonymous sessions: how many a process, and one client address, may have."""

from __future__ import annotations

import random
from collections import Counter

from ..conf import conf
from ..exceptions import ServerBusy, SessionRefused
from ..loops import LoopLocal

__all__ = ["Visitors", "current_visitors"]


class Visitors:
    """The anonymous sessions of one event loop, by session.

    Who comes when all places are taken is refused; nobody who has one loses it to another.
    """

    def __init__(self) -> None:
        self._addresses: dict[object, str | None] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, visitor: object, address: str | None) -> None:
        """Give a session its place.

        Args:
            address: the client's, where it means one; None: only the whole counts.

        Raises:
            SessionRefused: ``too_many_connections`` of this address.
            ServerBusy: too many altogether.
        """
        limit = conf.BAZIS_WS_MAX_ANONYMOUS_BY_ADDRESS
        if address is not None and self._by_address[address] >= limit:
            detail = f"At most {limit} anonymous sessions an address"
            raise SessionRefused("too_many_connections", detail)
        if len(self._addresses) >= conf.BAZIS_WS_MAX_ANONYMOUS:
            raise ServerBusy(round(random.uniform(5, 15), 1))
        self._addresses[visitor] = address
        if address is not None:
            self._by_address[address] += 1

    def leave(self, visitor: object) -> None:
        """Take the place of a session back, if it has one."""
        address = self._addresses.pop(visitor, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


async def _close(visitors: Visitors) -> None:
    """Nothing to close."""


_visitors: LoopLocal[Visitors] = LoopLocal(Visitors, _close)


def current_visitors() -> Visitors:
    """Return those of the running event loop."""
    return _visitors.get()
