"""Streams in the process: the answers of Redis, without it."""

import pytest

from bazis_ws_channels.history.memory import MemoryStreams, Results
from bazis_ws_channels.history.positions import missing


@pytest.fixture
def streams(clock, settings):
    """Streams that keep three messages for a minute, by the moved clock."""
    settings.BAZIS_WS_HISTORY_MESSAGES, settings.BAZIS_WS_HISTORY_SECONDS = 3, 60
    return MemoryStreams(clock)


def event(number):
    """Return an event."""
    return {"type": "ws.push", "text": f"{number}"}


def texts(streams, entries):
    """Return the texts of recorded messages."""
    return [streams.decode(entry)["text"] for entry in entries]


def test_nothing_is_recorded_for_nobody(streams):
    """A stream begins when somebody asks for its position."""
    assert streams.append("g", event(1)) is None
    beginning = streams.read("g", None)
    assert (beginning.top.offset, list(beginning.entries)) == (0, [])
    assert streams.append("g", event(1)).offset == 1
    assert streams.read("other", None).top.offset == 0


def test_what_is_missing_is_read(streams):
    """Each continues the one before, and has its position."""
    start = streams.read("g", None).top
    places = [streams.append("g", event(number)) for number in (1, 2, 3)]
    assert [place.offset for place in places] == [1, 2, 3]
    found = missing(start, streams.read("g", start))
    assert texts(streams, found) == ["1", "2", "3"]
    assert [streams.decode(entry)["position"] for entry in found] == places
    assert texts(streams, missing(places[1], streams.read("g", places[1]))) == ["3"]
    assert missing(places[2], streams.read("g", places[2])) == ()


def test_only_the_newest_are_kept(streams):
    """One more than are kept, and it can't be resumed."""
    start = streams.read("g", None).top
    first, *_ = (streams.append("g", event(number)) for number in range(4))
    assert missing(start, streams.read("g", start)) is None
    assert texts(streams, missing(first, streams.read("g", first))) == ["1", "2", "3"]


def test_only_so_many_bytes_are_kept(streams, settings):
    """A message over the limit drives all out, itself too."""
    settings.BAZIS_WS_HISTORY_BYTES = 1000
    start = streams.read("g", None).top
    small = streams.append("g", event("small"))
    big = streams.append("g", event("x" * 1000))
    assert missing(start, streams.read("g", start)) is None
    assert missing(small, streams.read("g", small)) is None
    streams.append("g", event("small again"))
    assert texts(streams, missing(big, streams.read("g", big))) == ["small again"]


def test_messages_run_out_and_the_position_does_not(streams, clock):
    """Silence costs nothing; what was missed is told."""
    start = streams.read("g", None).top
    first = streams.append("g", event(1))
    clock.move(59.9)
    assert texts(streams, missing(start, streams.read("g", start))) == ["1"]
    clock.move(0.1)
    assert missing(start, streams.read("g", start)) is None
    assert missing(first, streams.read("g", first)) == ()


def test_old_messages_do_not_come_back_with_a_new_one(streams, clock):
    """As a key of Redis that has expired."""
    start = streams.read("g", None).top
    first = streams.append("g", event(1))
    clock.move(60)
    assert streams.append("g", event(2)).offset == 2
    assert missing(start, streams.read("g", start)) is None
    assert texts(streams, missing(first, streams.read("g", first))) == ["2"]


def test_a_message_that_follows_in_time_keeps_the_others(streams, clock):
    """The window is that of the newest."""
    start = streams.read("g", None).top
    streams.append("g", event(1))
    clock.move(40)
    streams.append("g", event(2))
    clock.move(40)
    assert texts(streams, missing(start, streams.read("g", start))) == ["1", "2"]


def test_recording_that_is_off(streams, settings):
    """Nothing is kept, nothing moves."""
    streams.read("g", None)
    settings.BAZIS_WS_HISTORY_MESSAGES = 0
    assert not streams.is_on
    assert streams.append("g", event(1)) is None
    settings.BAZIS_WS_HISTORY_MESSAGES = 3
    assert streams.is_on
    assert streams.read("g", None).top.offset == 0


def test_a_cleared_history_is_another_one(streams):
    """Positions of the old one are known as such, even where offsets fit."""
    streams.read("g", None)
    old = streams.append("g", event(1))
    streams.clear()
    streams.read("g", None)
    streams.append("g", event("new"))
    assert missing(old, streams.read("g", old)) is None


async def test_several_at_once(streams):
    """In the order that was asked."""
    one = streams.read("one", None).top
    streams.append("one", event(1))
    first, second = await streams.open(["one", "two"], [one, None])
    assert (texts(streams, first.entries), second.top.offset) == (["1"], 0)
    assert await streams.tops(["two", "one"]) == [second.top, first.top]
    streams.close(["one", "two"])


# --- idempotency ----------------------------------------------------------------------------


def test_a_key_is_claimed_once_a_group(streams, clock):
    """For five minutes."""
    assert streams.claim("g", "key")
    assert not streams.claim("g", "key")
    assert streams.claim("other", "key")
    assert streams.claim("g", "other key")
    clock.move(299.9)
    assert not streams.claim("g", "key")
    clock.move(0.1)
    assert streams.claim("g", "key")


async def test_a_result_is_kept(streams):
    """Zero is one, too."""
    assert await streams.result("key") is None
    await streams.keep_result("key", 0)
    assert await streams.result("key") == 0
    streams.clear()
    assert streams.result_blocking("key", 1) is None


def test_old_results_go(clock):
    """At the next one that is kept."""
    results = Results(clock)
    results.keep("old", 1)
    clock.move(300)
    assert results.get("old") is None
    results.keep("new", 2)
    assert list(results._kept) == ["new"]
    assert results.get("new") == 2


def test_a_new_clock_knows_nothing():
    """A machine that has just started: its monotonic clock is near 0."""
    results = Results(lambda: 0.0)
    assert results.get("key") is None
