"""Compare what the store holds with this process's sessions: it may have gone back in time.

A replica that takes over without the newest writes, or a snapshot, brings sessions back that have
ended, and lacks others that are open. It, or a store that has lost everything, knows nothing of
users who have left and are yet to be told offline.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..times import microseconds
from .lease import Lease
from .roster import Roster
from .stores import get_store
from .stores.base import Record, Records, Seen, Statuses

__all__ = ["audit"]

#: Records, and users, in one question.
_BATCH = 500
#: How much earlier than its confirmation a departure may have been written.
_LATENCY_SECONDS = 5


async def audit(lease: Lease, roster: Roster) -> Sequence[Record]:
    """Enter sessions whose end the store doesn't know as departures that are to be written. Return
    open sessions that it doesn't know.

    Raises:
        PresenceUnavailable: the store is out of reach.
    """
    missing = await _compare_records(lease, roster)
    await _find_forgotten(roster)
    return missing


async def _compare_records(lease: Lease, roster: Roster) -> Sequence[Record]:
    missing, cursor = dict(roster.written()), "0"
    while True:
        page = await get_store().aask(Records(lease.name, cursor, _BATCH))
        roster.note_ended(page.records)
        for session_id, _ in page.records:
            missing.pop(session_id, None)
        cursor = page.cursor
        if cursor == "0":
            return roster.still_open(missing.items())


async def _find_forgotten(roster: Roster) -> None:
    """Find users who have left, and of whom the store has no sign of it: each departure is also
    the last time that a user was seen.
    """
    departures = list(roster.departed.latest().items())
    for start in range(0, len(departures), _BATCH):
        batch = departures[start : start + _BATCH]
        now, seen = await get_store().aask(Statuses([key for key, _ in batch]))
        for (key, departure), each in zip(batch, seen, strict=True):
            age = roster.departed.age_seconds(departure) + _LATENCY_SECONDS
            if not _is_known(each, now - microseconds(age)):
                roster.note_forgotten(departure.process, [(departure.session_id, key)])


def _is_known(seen: Seen, since: int) -> bool:
    """Tell whether a user is there, or was since a moment."""
    return seen.connections > 0 or (seen.last_seen is not None and seen.last_seen >= since)
