"""Anonymous sessions: how many a process, and one client address, may have."""

from __future__ import annotations

import random
from collections import Counter

from ..conf import conf
from ..exceptions import ServerBusy, SessionRefused
from ..loops import LoopLocal

__all__ = ["Visitors", "current_visitors"]


class Visitors:
    """Places for the anonymous sessions of one event loop.

    A session that comes when all places are taken is refused; none loses its place to another.
    """

    def __init__(self) -> None:
        self._addresses: dict[object, str | None] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, visitor: object, address: str | None) -> None:
        """Give a session its place.

        Args:
            address: the client's, as `lobby.address_of` returns it; None if it is not known: then
                only the limit of all sessions holds.

        Raises:
            SessionRefused: ``too_many_connections``: the address has its share.
            ServerBusy: all places are taken.
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
