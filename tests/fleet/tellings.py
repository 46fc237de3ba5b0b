"""What the receivers of `user_online` and `user_offline` were told, by all processes together."""

import json
from typing import NamedTuple

from tests.fleet.apps import TOLD


class Telling(NamedTuple):
    """One call of a receiver: what happened when, and the process that told it."""

    pk: int
    is_online: bool
    at: str
    process: int


def tellings(redis):
    """Return all tellings, in order."""
    return [Telling(*json.loads(each)) for each in redis.lrange(TOLD, 0, -1)]


def last_told(told):
    """Return who is online, as told last."""
    return {pk for pk, is_online in {each.pk: each.is_online for each in told}.items() if is_online}


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


def _is_lost(before, after, losses):
    """Tell whether Redis may have forgotten what it knew between two tellings."""
    return any(before.at <= end and (after is None or begin <= after.at) for begin, end in losses)
