"""A process's lease, which tells other processes that it is alive."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from ..conf import conf
from .stores import get_store
from .stores.base import Census, CensusReply, Register, Release, Renew

__all__ = ["Lease"]


class Lease:
    """The lease of one event loop. Its name is new each time it is taken.

    Args:
        clock: seconds, monotonic.

    Attributes:
        name: the process's name in the store; empty without a lease.
        lost_name: name of the last lease that was lost; empty if none was.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = ""
        self.lost_name = ""
        self.has_peers = False
        self._clock = clock
        self._renewed_at = 0.0
        self._unbroken_since = 0.0
        self._has_break = False

    @property
    def age_seconds(self) -> float:
        """Time since the last renewal."""
        return self._clock() - self._renewed_at

    @property
    def settles_in_seconds(self) -> float:
        """Time until the lease has been held for a whole lease time without a break. Before that,
        peers may not have had time to renew theirs, so they must not be called dead.
        """
        return max(0.0, self._unbroken_since + conf.BAZIS_WS_LEASE_SECONDS - self._clock())

    @property
    def is_settled(self) -> bool:
        """Whether the lease has been held that long, so that others may be called dead."""
        return self.settles_in_seconds == 0

    async def take(self) -> None:
        """Take a lease under a new name.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        name = secrets.token_hex(8)
        self.has_peers = await get_store().aask(Register(name, _lease_ms()))
        if self.name:
            self.lost_name = self.name
        self.name = name
        self._renewed_at = self._unbroken_since = self._clock()

    def note_break(self) -> None:
        """Note that the store may have been away, so that peers could not renew either: the lease
        settles again from the next renewal on.
        """
        self._has_break = True

    async def renew(self) -> bool:
        """Renew the lease. Return False if it was lost.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        started_at = self._clock()
        has_peers = await get_store().aask(Renew(self.name, _lease_ms()))
        self._renewed(started_at)
        if has_peers is None:
            return False
        self.has_peers = has_peers
        return True

    async def census(self, batch: int, *, own: bool) -> CensusReply:
        """Ask a `Census`, which renews the lease too.

        Raises:
            PresenceUnavailable: the store is out of reach.
        """
        started_at = self._clock()
        reply = await get_store().aask(Census(self.name, _lease_ms(), batch, own))
        self._renewed(started_at)
        if reply.is_alive:
            self.has_peers = reply.has_peers
        return reply

    def _renewed(self, at: float) -> None:
        if self._has_break or at - self._renewed_at > conf.BAZIS_WS_LEASE_SECONDS:
            self._unbroken_since = at
        self._has_break = False
        self._renewed_at = at

    async def release(self) -> None:
        """Release the lease.

        Raises:
            PresenceUnavailable: the store is out of reach. The lease then runs out by itself.
        """
        name, self.name = self.name, ""
        if name:
            await get_store().aask(Release(name))


def _lease_ms() -> int:
    return int(conf.BAZIS_WS_LEASE_SECONDS * 1000)
