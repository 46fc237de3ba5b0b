"""Places in a stream: their text, and what is missing between two of them."""

import re

import pytest

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
from tests.unit.history.streams import at, entries, entry, mark, tail

BIGGEST = 10**15 - 1


@pytest.mark.parametrize("offset", [0, 1, 10, BIGGEST])
def test_text_and_back(offset):
    """What the server writes it can read, and a URL and the contract hold it."""
    position = Position(offset, new_mark())
    assert Position.parse(str(position)) == position
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", str(position))


def test_marks_are_not_alike():
    """48 random bits."""
    assert len({new_mark() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        *(None, 5, b"1.abcdefgh", ["1.abcdefgh"], "", ".", "1", "1.", ".abcdefgh", "x.abcdefgh"),
        *("1.abcdefg", "1.abcdefghi", "1.abcdefg!", "1.abcdefgh\n", " 1.abcdefgh", "1 .abcdefgh"),
        *("-1.abcdefgh", "+1.abcdefgh", "01.abcdefgh", "00.abcdefgh", f"{BIGGEST + 1}.abcdefgh"),
        *("1.0.abcdefgh", "\u0661.abcdefgh", "1" * 10_000 + ".abcdefgh"),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_position(text):
    """Anything that a client may send."""
    assert Position.parse(text) is None


def test_the_unknown_position_can_be_sent_and_is_in_no_stream():
    """A client that has it is told that it missed something."""
    assert Position.parse(str(UNKNOWN)) == UNKNOWN
    assert missing(UNKNOWN, tail(0)) is None
    assert missing(UNKNOWN, tail(1, kept=1)) is None


# --- messages as they are stored ------------------------------------------------------------


def test_a_recorded_message():
    """The header in plain text, then the event, newlines and all."""
    data = b"\xc112 abcdefgh zyxwvuts\nan\nevent"
    found = unpack(data)
    assert found == Entry(Position(12, "abcdefgh"), "zyxwvuts", data, 22)
    assert found.payload == b"an\nevent"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"12 abcdefgh zyxwvuts\nevent",  # without the marker
        b"\xc112 abcdefgh zyxwvuts",  # without an end
        b"\xc112 abcdefgh\nevent",
        b"\xc112 abcdefgh zyxwvuts more\nevent",
        b"\xc1twelve abcdefgh zyxwvuts\nevent",
        b"\xc112 abcdefg\xff zyxwvuts\nevent",
        b"\xc1" + b"1" * 64 + b" abcdefgh zyxwvuts\nevent",  # no header is so long
    ],
)
def test_any_other_message(data):
    """It is left alone."""
    assert unpack(data) is None


# --- what is missing ------------------------------------------------------------------------


def test_nothing_is_missing_at_the_top():
    """However little is kept."""
    assert missing(at(5), tail(5)) == ()
    assert missing(at(5), tail(5, kept=3)) == ()


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_the_whole_gap(gap):
    """Each message since, in order."""
    assert missing(at(5), tail(5 + gap, kept=gap)) == entries(6, 5 + gap)


def test_from_the_beginning():
    """Offset 0 is a position as any other."""
    assert missing(at(0), tail(2, kept=2)) == entries(1, 2)


@pytest.mark.parametrize(
    ("since", "end"),
    [
        (None, tail(5, kept=5)),  # no position
        (at(5), tail(7)),  # nothing is kept
        (at(5), tail(8, kept=2)),  # too little is kept
        (at(5), Tail(at(8), entries(6, 7))),  # the end of it is
        (at(5, "b"), tail(5)),  # as far on, in another history
        (at(5, "b"), tail(7, kept=2)),  # behind, in another history
        (at(9), tail(7)),  # ahead
        (at(9), tail(7, kept=2)),
        (at(5), Tail(at(7), [entry(7), entry(6)])),  # out of order
        (at(5), Tail(at(7), [entry(6), entry(8)])),  # with a hole
        (at(5), Tail(at(7), [entry(6), entry(7, before=mark(6, "b"))])),  # a mended chain
        (at(5), Tail(at(7, "b"), entries(6, 7))),  # the end is of another history
    ],
)
def test_nothing_but_the_whole_of_it_will_do(since, end):
    """The client is told then."""
    assert missing(since, end) is None


# --- what clients send ----------------------------------------------------------------------


def test_the_position_in_a_message():
    """Each stream by its name; others are passed over."""
    value = {"user": "1.abcdefgh", "common": "2.zyxwvuts", "more": 1}
    assert since_of(value) == (Position(1, "abcdefgh"), Position(2, "zyxwvuts"))
    assert since_of({"common": "2.zyxwvuts", "user": 1}) == (None, Position(2, "zyxwvuts"))


def test_no_position_is_not_a_wrong_one():
    """Without one nothing is resumed; a wrong one is told."""
    assert since_of(None) is None
    for wrong in ("", "1.abcdefgh", 0, False, [], ["user"], {}):
        assert since_of(wrong) == (None, None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", None),
        (b"token=x", None),
        (b"nosince=1.abcdefgh~2.zyxwvuts", None),
        (b"since=1.abcdefgh~2.zyxwvuts", (Position(1, "abcdefgh"), Position(2, "zyxwvuts"))),
        (b"since=1.abcdefgh%7E2.zyxwvuts", (Position(1, "abcdefgh"), Position(2, "zyxwvuts"))),
        (b"token=x&since=~2.zyxwvuts", (None, Position(2, "zyxwvuts"))),
        (b"since=1.abcdefgh~", (Position(1, "abcdefgh"), None)),
        (b"since=", (None, None)),
        (b"since=1.abcdefgh", (None, None)),
        (b"since=1.abcdefgh~2.zyxwvuts~3.zyxwvuts", (None, None)),
        (b"since=1.abcdefgh~2.zyxwvuts&since=1.abcdefgh~2.zyxwvuts", (None, None)),
        (b"since=\xff~\xff", (None, None)),
        (b"since=1&" + b"a=1&" * 100, (None, None)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_position_in_a_handshake(query, found):
    """`<user>~<common>`."""
    assert since_in(query) == found
