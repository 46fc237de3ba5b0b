"""Is what comes on a stream whole?"""

import pytest

from bazis_ws_channels.history import follower as module
from bazis_ws_channels.history.follower import Follower, contradicts
from bazis_ws_channels.history.positions import Tail
from tests.unit.history.streams import at, entries, entry, mark, tail


@pytest.fixture
def follower():
    """One that has begun at message 5, which it read."""
    follower = Follower()
    follower.start(at(5))
    return follower


def test_the_first_message_is_where_it_begins():
    """Nobody knows of one before."""
    follower = Follower()
    assert follower.take(entry(7))
    assert follower.last == at(7)
    assert follower.take(entry(8))


def test_one_after_the_other(follower):
    """Each continues the one before."""
    for number in (6, 7, 8):
        assert follower.take(entry(number))
        assert follower.last == at(number)


@pytest.mark.parametrize(
    "message",
    [
        entry(7),  # one is missing
        entry(100),
        entry(6, "b"),  # of another history
        entry(6, before=mark(5, "b")),  # which has this one's mark
    ],
)
def test_what_does_not_continue(follower, message):
    """The end of the stream must be read first, and nothing has moved."""
    assert not follower.take(message)
    assert follower.last == at(5)
    assert follower.take(entry(6))


def test_what_was_read_may_still_come(follower):
    """It was on its way: the sessions pass over it. Of another history it may not."""
    assert follower.take(entry(5))
    assert not follower.take(entry(5, "b"))
    assert follower.take(entry(3))  # nobody knows its mark any more
    assert follower.last == at(5)


def test_what_was_read_comes_soon_or_never(monkeypatch):
    """A number that comes again later is of a new history: Redis has lost the stream, and nobody
    noticed.
    """
    monkeypatch.setattr(module, "_LATE_SECONDS", 0)
    follower = Follower()
    follower.start(at(5))
    for old in (entry(5), entry(3), entry(1, "b")):
        assert not follower.take(old)
    assert follower.take(entry(6))


def test_nothing_old_comes_after_what_came_live(follower):
    """Pub/sub keeps the order: whatever is behind is of another history."""
    assert follower.take(entry(6))
    for old in (entry(6), entry(5), entry(4)):
        assert not follower.take(old)
    assert follower.last == at(6)


def test_a_session_that_opens_later_does_not_move_it(follower):
    """The others have not been given what that one has read."""
    follower.start(at(9))
    assert follower.last == at(5)


# --- catching up ----------------------------------------------------------------------------


def test_what_is_missing_is_handed_out(follower):
    """Then it goes on from there; what was read may still come."""
    assert follower.catch_up(tail(8, kept=3)) == entries(6, 8)
    assert follower.last == at(8)
    for late in (6, 7, 8):
        assert follower.take(entry(late))
        assert not follower.take(entry(late, "b"))
    assert follower.take(entry(9))


def test_nothing_is_missing(follower):
    """A gap that was none."""
    assert follower.catch_up(tail(5, kept=2)) == ()
    assert follower.take(entry(6))


@pytest.mark.parametrize("end", [tail(8, kept=2), tail(8, 3, "b"), tail(3), Tail(at(5, "b"), ())])
def test_what_is_kept_no_more(follower, end):
    """It is told; then it goes on at the new end."""
    assert follower.catch_up(end) is None
    assert follower.last == end.top
    history = end.top.mark[0]
    assert follower.take(entry(end.top.offset + 1, history))


def test_catching_up_with_nothing():
    """Nobody was given anything: nothing is missing, and nothing is told."""
    follower = Follower()
    assert follower.catch_up(tail(8, kept=3)) == ()
    assert follower.last == at(8)


def test_marks_of_what_was_read_are_forgotten_once_live(follower):
    """They are no longer needed, and would only grow."""
    follower.catch_up(tail(8, kept=3))
    assert follower.take(entry(9))
    assert follower._marks == {}
    follower.catch_up(Tail(at(10), [entry(10)]))
    assert follower._marks == {10: mark(10)}


@pytest.mark.parametrize(
    ("top", "known", "does"),
    [
        (at(5), None, False),
        (at(5), at(5), False),
        (at(6), at(5), False),
        (at(6, "b"), at(5), False),  # as far as one can see
        (at(4), at(5), True),
        (at(5, "b"), at(5), True),
    ],
)
def test_a_stream_that_contradicts(top, known, does):
    """It went back, or is another one."""
    assert contradicts(top, known) is does
