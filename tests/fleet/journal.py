"""What was published, as the publishers say, and what Redis keeps of it."""

import json
from collections import Counter, defaultdict
from typing import NamedTuple

from bazis_ws_channels.groups import COMMON_CHANNEL, user_group
from bazis_ws_channels.history.positions import UNKNOWN, Position

COMMON = "common"


class Call(NamedTuple):
    """One call of a publisher.

    Attributes:
        streams: where it published.
        is_sure: whether it succeeded in the end. Otherwise nobody knows.
        tries: how often it was tried, with one idempotency key.
    """

    streams: list[str]
    is_recorded: bool
    is_sure: bool
    tries: int


class Journal:
    """All calls, by the publisher's name and the number of the call.

    Args:
        is_whole: whether Redis has lost nothing.
    """

    def __init__(self, is_whole):
        self.is_whole = is_whole
        self.calls = {}

    def add(self, name, number, *call):
        """Note a call."""
        self.calls[name, number] = Call(*call)

    def faults(self, stream, values, *, is_placed):
        """Return what is wrong with values that somebody was given, in this order.

        Args:
            is_placed: whether they came with a position. Otherwise they are not recorded, or Redis
                has lost the stream.
        """
        keys = [key_of(value) for value in values]
        strange = [key for key in keys if not self._is_of(key, stream, is_placed)]
        if strange:
            return [f"not published so: {strange}"]
        if not self.is_whole:
            # A call that is repeated after Redis has forgotten its key is another one.
            keys = [key for key in keys if self.calls[key].tries == 1]
        counts = Counter(keys).items()
        twice = [f"twice: {key} {self.calls[key]}" for key, count in counts if count > 1]
        return twice + _disorder([key for key in keys if self.calls[key].is_sure])

    def _is_of(self, key, stream, is_placed):
        call = self.calls.get(key)
        if call is None or stream not in call.streams:
            return False
        return call.is_recorded == is_placed or not (is_placed or self.is_whole)

    def missing(self, kept):
        """Return what Redis should have kept of a stream, and hasn't."""
        if not self.is_whole:
            return []
        there = set(map(key_of, kept.values.values()))
        sure = [key for key, call in self.calls.items() if call.is_sure and call.is_recorded]
        expected = [key for key in sure if kept.stream in self.calls[key].streams]
        return [f"lost: {key}" for key in expected if key not in there]


def key_of(value):
    """Return which call has published a value."""
    return value["by"], value["n"]


def _disorder(keys):
    last, faults = defaultdict(int), []
    for name, number in keys:
        if number < last[name]:
            faults.append(f"order of {name}: {number} behind {last[name]}")
        last[name] = number
    return faults


class Kept:
    """What Redis keeps of one stream.

    Attributes:
        top: the position of its end.
        before: by position, the one before it.
        values: by position, in order.
    """

    def __init__(self, stream, tail, decode):
        self.stream, self.top = stream, str(tail.top)
        self.before, self.values = {}, {}
        for entry in tail.entries:
            position = str(entry.position)
            self.before[position] = str(Position(entry.position.offset - 1, entry.before))
            self.values[position] = json.loads(decode(entry)["text"])["data"]

    def faults(self, start, given):
        """Return what is wrong with what somebody was given from a position on.

        Args:
            given: ``[(position, value), ...]``.
        """
        faults, last = [], start
        for position, value in given:
            if position in self.before:
                is_next, is_same = self.before[position] == last, self.values[position] == value
            else:  # of a history that Redis has lost
                is_next, is_same = offset_of(position) == offset_of(last) + 1, True
            if not (is_next and is_same):
                faults.append(f"{position} {value} behind {last}")
            last = position
        return faults


def offset_of(position):
    """Return the number in a position."""
    return int(position.partition(".")[0])


async def kept_of(layer, streams):
    """Read what Redis keeps of streams; those that are not there begin."""
    groups = [group_of(stream) for stream in streams]
    try:
        tails = await layer.streams.open(groups, [UNKNOWN] * len(groups))
    finally:
        layer.streams.close(groups)
    decode = layer.streams.decode
    return {stream: Kept(stream, tail, decode) for stream, tail in zip(streams, tails, strict=True)}


def stream_of(pk):
    """Return the name of a user's stream."""
    return f"user.{pk}"


def group_of(stream):
    """Return the group whose messages a stream has."""
    return COMMON_CHANNEL if stream == COMMON else user_group(stream.partition(".")[2])
