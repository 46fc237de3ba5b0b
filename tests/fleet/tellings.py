"""What the receivers of `user_online` and `user_offline` were told, by all processes together."""

import json
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.fleet.apps import TOLD

#: How long before a loss something may have been told that is not known to all processes, and how
#: long after it one of them may not have noticed.
DOUBT = timedelta(seconds=2)


class Telling(NamedTuple):
    """One call of a receiver: what happened when (ISO 8601), and the process that told it."""

    pk: int
    is_online: bool
    at: str
    process: int


def tellings(redis):
    """Return all tellings, in order."""
    return [Telling(*json.loads(each)) for each in redis.lrange(TOLD, 0, -1)]


def online_as_told(told, there, losses):
    """Return who is online, as told last.

    Args:
        there: who really is. What was told around a loss may be wrong until the next change, as
            docs/presence.md says: it counts as right.
        losses: as in `faults`.
    """
    last = {each.pk: each for each in told}
    doubtful = {pk for pk, each in last.items() if _is_near(each.at, losses)}
    return {pk for pk, each in last.items() if each.is_online} - doubtful | (there & doubtful)


def faults(told, doubtful, losses):
    """Return what is wrong: each change is told once, in turns.

    Args:
        doubtful: processes that were killed or frozen. Whatever one of them was telling then may be
            told by another, too.
        losses: ``[(begin, end), ...]``, in ISO 8601: when Redis has lost what it knew. Whatever was
            told before may be told again.
    """
    found, first, last = [], {}, {}
    for each in told:
        before, last[each.pk] = last.get(each.pk), each
        if (same := first.setdefault(each[:3], each)) is not each:
            is_excused = {same.process, each.process} & doubtful or _is_lost(same, None, losses)
            if not is_excused:
                found.append(f"told twice: {each}, first by {same.process}")
        elif before is None:
            if not each.is_online:
                found.append(f"offline before online: {each}")
        elif before.is_online == each.is_online and not _is_lost(before, each, losses):
            found.append(f"not in turns: {each}, behind {before}")
    return found


def _is_near(at, losses):
    moments = [tuple(map(datetime.fromisoformat, each)) for each in losses]
    moment = datetime.fromisoformat(at)
    return any(begin - DOUBT <= moment <= end + DOUBT for begin, end in moments)


def _is_lost(before, after, losses):
    """Tell whether Redis may have forgotten what it knew, between two tellings or just before."""
    noticed = [(begin, (datetime.fromisoformat(end) + DOUBT).isoformat()) for begin, end in losses]
    return any(before.at <= end and (after is None or begin <= after.at) for begin, end in noticed)
