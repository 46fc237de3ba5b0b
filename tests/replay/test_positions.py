"""Places in a stream, and one stream as an event loop follows it: without I/O."""

import pytest

from bazis_ws_channels.history.follower import Follower, contradicts
from bazis_ws_channels.history.positions import (
    UNKNOWN,
    Entry,
    Position,
    Tail,
    missing,
    new_mark,
    since_in,
    since_of,
    unpack,
)


def mark(offset, history="a"):
    """Return the mark of a message."""
    return f"{history * 3}{offset:05}"


def at(offset, history="a"):
    """Return the position of a message."""
    return Position(offset, mark(offset, history))


def entry(offset, history="a", before=None):
    """Return a message of a history, which may continue another one."""
    return Entry(at(offset, history), mark(offset - 1, before or history), b"", 0)


def tail(top, first, history="a"):
    """Return the end of a stream of which the messages from `first` on are known."""
    return Tail(at(top, history), [entry(n, history) for n in range(first, top + 1)])


def test_a_position_is_text_that_a_url_and_the_contract_hold():
    """`[A-Za-z0-9._-]`, up to 64 characters; it comes back as it went."""
    for _ in range(1000):
        position = Position(10**15 - 1, new_mark())
        text = str(position)
        assert len(text) <= 64
        assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
        assert Position.parse(text) == position
    assert Position.parse(str(UNKNOWN)) == UNKNOWN


@pytest.mark.parametrize(
    "text",
    [None, 5, "", ".", "1", "1.", ".abcdefgh", "01.abcdefgh", "+1.abcdefgh", " 1.abcdefgh",
     "1.abcdefgh\n", "1.abcdefg", "1.abcdefghi", "1.abcdefg~", f"{10**15}.abcdefgh", b"1.abcdefgh"],
)  # fmt: skip
def test_what_is_no_position(text):
    """None, whatever it is."""
    assert Position.parse(text) is None


def test_a_since():
    """Of a message and of a handshake."""
    position = at(3)
    both = {"user": str(position), "common": str(position), "more": 1}
    assert since_of(both) == (position, position)
    assert since_of(None) is None
    assert since_of({"user": str(position)}) == (position, None)
    assert since_of([]) == since_of("x") == (None, None)
    query = f"token=x&since={position}~{position}".encode()
    assert since_in(query) == (position, position)
    assert since_in(b"token=x") is None
    assert since_in(b"notsince=x") is None
    assert since_in(b"since=" + b"x&" * 200) == (None, None)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xc1", b"\xc1\n", b"\xc11 a\n", b"\xc1x a b\n", b"\xc1" + b"1" * 99,
             b"\xc11 \xff b\n"]
)  # fmt: skip
def test_what_is_no_recorded_message(data):
    """Whoever shares the Redis may publish anything."""
    assert unpack(data) is None


def test_a_recorded_message():
    """Header and payload, whatever bytes that has."""
    found = unpack(b"\xc112 aaa00012 aaa00011\n\x81\n\n\xc1")
    assert (found.position, found.before, found.payload) == (at(12), mark(11), b"\x81\n\n\xc1")


@pytest.mark.parametrize(
    ("since", "end", "expected"),
    [
        (at(5), tail(5, 6), []),  # nothing, though nothing is kept
        (at(4), tail(5, 5), [5]),
        (at(0), tail(3, 1), [1, 2, 3]),
        (at(3), tail(5, 5), None),  # 4 is not kept
        (at(3), tail(5, 6), None),
        (at(6), tail(5, 6), None),  # it went back
        (at(5, "b"), tail(5, 6), None),  # another history, the same offset
        (at(4, "b"), tail(5, 5), None),  # another history, which this one has overtaken
        (at(0, "b"), tail(0, 1), None),
        (None, tail(5, 6), None),
    ],
)
def test_what_is_missing(since, end, expected):
    """All of it, or None."""
    found = missing(since, end)
    assert (found if found is None else [each.position.offset for each in found]) == expected


def test_a_tail_that_contradicts_itself():
    """A list that somebody else has changed is not believed."""
    assert missing(at(1), Tail(at(3), [entry(2), entry(3, before="b")])) is None
    assert missing(at(1), Tail(at(3), [entry(3), entry(2)])) is None
    assert missing(at(1), Tail(at(3, "b"), [entry(2), entry(3)])) is None


def test_a_top_that_contradicts_what_is_known():
    """It went back, or is another one; ahead it may be."""
    assert not contradicts(at(5), None)
    assert not contradicts(at(5), at(5))
    assert not contradicts(at(6), at(5))
    assert contradicts(at(4), at(5))
    assert contradicts(at(5, "b"), at(5))


@pytest.fixture
async def follower():
    """A follower that was given messages up to 5."""
    follower = Follower()
    follower.start(at(4))
    assert follower.take(entry(5))
    return follower


async def test_messages_that_continue(follower):
    """One after another."""
    assert all(follower.take(entry(n)) for n in range(6, 10))
    assert follower.last == at(9)


@pytest.mark.parametrize(
    "wrong", [entry(7), entry(5), entry(4), entry(6, before="b"), entry(2, "b"), entry(10**9)]
)
async def test_messages_that_do_not(follower, wrong):
    """A hole, a step back, another history: none of it is a duplicate."""
    assert not follower.take(wrong)
    assert follower.last == at(5)


async def test_late_messages_after_a_start():
    """What was published before the top was read may come after it."""
    follower = Follower()
    follower.start(at(5))
    assert follower.take(entry(4))
    assert follower.take(entry(5))
    assert follower.take(entry(6))
    assert follower.last == at(6)
    assert not follower.take(entry(6))
    other = Follower()
    other.start(at(5))
    assert not other.take(entry(5, "b"))


async def test_catching_up(follower):
    """What is missing is handed out; what comes late of it is known, and nothing else is."""
    entries = follower.catch_up(tail(8, 6))
    assert [each.position.offset for each in entries] == [6, 7, 8]
    assert follower.take(entry(7))
    assert not follower.take(entry(7, "b"))
    assert follower.take(entry(9))
    assert follower.last == at(9)


async def test_a_break(follower):
    """It goes on from the new top."""
    assert follower.catch_up(tail(8, 8)) is None
    assert follower.last == at(8)
    assert follower.take(entry(9))
    assert follower.catch_up(tail(3, 4, "b")) is None
    assert follower.take(entry(4, "b"))


async def test_a_stream_of_which_nobody_was_given_anything():
    """Nothing is missing of it."""
    follower = Follower()
    assert follower.catch_up(tail(8, 9)) == ()
    assert follower.last == at(8)
