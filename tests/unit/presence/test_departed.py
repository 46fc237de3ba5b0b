"""Departures that the store has confirmed, during the grace."""

import pytest

from bazis_ws_channels.presence.departed import Departed
from bazis_ws_channels.presence.stores.base import Edge


@pytest.fixture
def departed(clock):
    """Nobody yet."""
    return Departed(clock)


def test_each_user_is_in_it_once(departed, clock):
    """With the last departure."""
    departed.note("p", [("a", "1"), ("b", "2")], 5)
    clock.move(1)
    departed.note("q", [("c", "1")], 5)
    clock.move(2)
    latest = departed.latest()
    assert {key: (each.process, each.session_id) for key, each in latest.items()} == {
        "1": ("q", "c"),
        "2": ("p", "b"),
    }
    assert {key: departed.age_seconds(each) for key, each in latest.items()} == {"1": 2, "2": 3}


def test_they_are_forgotten_when_their_grace_is_over(departed, clock):
    """A moment after that, for it must be told, too."""
    departed.note("p", [("a", "1")], 5)
    departed.note("p", [("b", "2")], 9)
    clock.move(5)
    departed.prune()
    assert departed.latest().keys() == {"1", "2"}
    clock.move(1)
    departed.prune()
    assert departed.latest().keys() == {"2"}
    departed.note_told([Edge("2", 1, True, 0, 0)])
    assert departed.latest().keys() == {"2"}
    departed.note_told([Edge("2", 2, False, 0, 0)])
    assert departed.latest() == {}
    departed.note("p", [("c", "3")], 9)
    departed.clear()
    assert departed.latest() == {}
