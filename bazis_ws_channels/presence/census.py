"""Find users of dead processes, and users whose grace is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..conf import conf
from ..times import microseconds
from .lease import Lease
from .stores import get_store
from .stores.base import Bury, Edge, Records

__all__ = ["LeaseLost", "take_census"]

#: Users that one script call works on, so that Redis is never busy for long.
_BATCH = 500


class LeaseLost(Exception):
    """The process has lost its lease."""


Tell = Callable[[Sequence[Edge]], None]


async def take_census(lease: Lease, tell: Tell, *, own: bool, may_bury_lost: bool) -> float | None:
    """Bury dead processes and end graces. Return the seconds until the next grace ends, or None.

    Args:
        tell: called with the changes that were found.
        own: also find changes of this process whose replies were lost.
        may_bury_lost: whether the sessions of this process's lost lease have been restored.

    Raises:
        LeaseLost: this process counts as dead itself.
        PresenceUnavailable: the store is out of reach.
    """
    buried: set[str] = set()
    while True:
        reply = await lease.census(_BATCH, own=own)
        if not reply.is_alive:
            raise LeaseLost
        tell(reply.edges)
        dead = set(_to_bury(lease, reply.dead, may_bury_lost)) - buried
        for name in dead:
            await _bury(lease, tell, name)
        buried |= dead
        if not (reply.more or dead):  # with the dead buried, a grace may end sooner
            break
    return None if reply.next_due is None else (reply.next_due - reply.now) / 1_000_000


def _to_bury(lease: Lease, dead: Sequence[str], may_bury_lost: bool) -> Iterator[str]:
    """Yield the processes that are certainly dead. This process's own former name is, once its
    sessions are restored. Others are if this lease is settled, so that they had time to renew.
    """
    for name in dead:
        if may_bury_lost if name == lease.lost_name else lease.is_settled:
            yield name


async def _bury(lease: Lease, tell: Tell, dead: str) -> None:
    cursor, grace = "0", microseconds(conf.BAZIS_WS_OFFLINE_GRACE_SECONDS)
    # Its last renewal was a lease time ago, or longer, and the next was due a period after that.
    silent = microseconds(max(0, conf.BAZIS_WS_LEASE_SECONDS - conf.BAZIS_WS_RENEW_SECONDS))
    while True:
        page = await get_store().aask(Records(dead, cursor, _BATCH))
        tell(await get_store().aask(Bury(lease.name, dead, page.records, grace, silent)))
        cursor = page.cursor
        if cursor == "0":
            return
