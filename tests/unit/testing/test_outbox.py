"""What was published, and what the assertions about it say."""

import datetime
from unittest.mock import ANY

import pytest

from bazis_ws_channels.publishing import broadcast, publish, publish_anonymous
from bazis_ws_channels.testing import (
    assert_broadcast,
    assert_not_published,
    assert_published,
    assert_published_anonymous,
    capture,
)
from bazis_ws_channels.testing.outbox import Outbox, Published


@pytest.fixture
def outbox():
    """Two messages to user 1, one to user 2, one to all."""
    return Outbox(
        [
            Published(1, {"type": "order", "number": 7}),
            Published(1, [1, 2]),
            Published(2, "hello"),
            Published(None, {"type": "news"}, recorded=False),
        ]
    )


def said(call, *args, **kwargs):
    """Return what a failing assertion says."""
    with pytest.raises(AssertionError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("user", "data", "count"),
    [
        (1, ANY, 2),
        (1, ANY, None),
        (1, {"number": 7}, 1),
        (1, {"type": "order", "number": 7}, 1),
        (1, {"number": ANY}, 1),
        (1, {}, 1),  # a part of any object
        (1, [1, 2], 1),
        (1, (1, 2), 1),  # JSON knows no tuples
        (2, "hello", None),
        (2, "bye", 0),
        (3, ANY, 0),
    ],
)
def test_what_was_published(outbox, user, data, count):
    """Of an object a part, of anything else the whole."""
    outbox.assert_published(user, data, count)


@pytest.mark.parametrize(
    ("user", "data", "count"),
    [
        (1, ANY, 1),
        (1, ANY, 3),
        (1, {"number": 8}, 1),
        (1, {"number": 7, "more": None}, 1),
        (1, [1], 1),
        (1, [1, 2, 3], 1),
        (1, {"type": "news"}, None),
        (2, "hello", 2),
        (2, "hello", 0),
        (3, ANY, None),
    ],
)
def test_what_was_not(outbox, user, data, count):
    """The assertion fails, and lists what was."""
    text = said(outbox.assert_published, user, data, count)
    assert '1. to user 1: {"type": "order", "number": 7}' in text
    assert '4. to everybody: {"type": "news"}' in text


def test_the_numbers_are_said(outbox):
    """How often it was expected, and how often it was."""
    text = said(outbox.assert_published, 1)
    assert text.startswith("Expected a message to be published to user 1 1 time(s), got 2.")
    text = said(outbox.assert_published, 2, "bye", None)
    assert text.startswith('Expected "bye" to be published to user 2 at least once, got 0.')


def test_the_nearest_is_shown(outbox):
    """What differs, and only of what was asked for."""
    text = said(outbox.assert_published, 1, {"number": 8})
    assert "The nearest of them:" in text
    assert '-  "number": 8' in text
    assert '+  "number": 7' in text
    assert '"type"' not in text.partition("The nearest")[2]
    assert "The nearest" not in said(outbox.assert_published, 3, {"number": 8})


def test_an_instance_is_named(outbox, make_user):
    """By its key and its name."""
    outbox.assert_published(make_user(2), "hello")
    assert "user 9 (user9)" in said(outbox.assert_published, make_user(9))


def test_broadcasts(outbox):
    """Those to users are none."""
    outbox.assert_broadcast()
    outbox.assert_broadcast({"type": "news"})
    text = said(outbox.assert_broadcast, "hello")
    assert text.startswith('Expected "hello" to be published to everybody 1 time(s), got 0.')


def test_nothing_was_published(outbox, make_user):
    """To a user, with some data, or to anybody."""
    outbox.assert_not_published(3)
    outbox.assert_not_published(1, {"number": 8})
    outbox.assert_not_published(data="bye")
    Outbox().assert_not_published()
    assert said(outbox.assert_not_published, make_user(2)).splitlines() == [
        "Expected nothing to be published to user 2.",
        "Published:",
        '  1. to user 2: "hello"',
    ]
    for data in (ANY, {"type": "news"}):
        text = said(outbox.assert_not_published, data=data)
        assert text.startswith("Expected nothing to be published to anybody.")
        assert "to everybody" in text


def test_long_lists_are_cut():
    """Twenty messages, three hundred characters of each."""
    outbox = Outbox(Published(1, "x" * 1000) for _ in range(23))
    text = said(outbox.assert_published, 2)
    assert "  20. to user 1: " in text
    assert "  21. " not in text
    assert "  ... and 3 more." in text
    assert max(map(len, text.splitlines())) < 350
    assert "Nothing was published." in said(Outbox().assert_published, 2)


def test_data_is_compared_as_json(outbox):
    """Dates, keys that are no strings, and what JSON can't hold."""
    outbox[:] = [Published(1, {"at": "2026-01-02", "1": [None], "true": 0})]
    outbox.assert_published(1, {"at": datetime.date(2026, 1, 2), 1: (None,)})
    outbox.assert_published(1, {True: 0})
    said(outbox.assert_published, 1, {"at": object()})
    said(outbox.assert_published, 1, {1: ()})


# --- while it is active ---------------------------------------------------------------------


def test_what_is_captured():
    """In order, as clients get it; nothing afterwards."""
    with capture() as outbox:
        publish([1, 2], {"at": datetime.date(2026, 1, 2)})
        broadcast("all", record=False)
    publish([1], "later")
    day = {"at": "2026-01-02"}
    assert outbox == [
        Published(1, day),
        Published(2, day),
        Published(None, "all", recorded=False),
    ]
    assert [each.is_broadcast for each in outbox] == [False, False, True]


def test_one_within_another():
    """Both collect, and the innermost is asked."""
    with capture() as outer:
        publish([1], "first")
        with capture() as inner:
            publish([1], "second")
            assert_published(1, "second")
            assert_not_published(data="first")
        publish([1], "third")
        assert_published(1, count=3)
        broadcast("all")
        assert_broadcast("all")
    assert [each.data for each in inner] == ["second"]
    assert [each.data for each in outer] == ["first", "second", "third", "all"]


def test_anonymous_sessions():
    """By their token; a user's messages are none of theirs."""
    with capture():
        publish_anonymous("visitor-0123456789", {"step": 1})
        publish([1], {"step": 2})
        assert_published_anonymous("visitor-0123456789", {"step": 1})
        assert_published_anonymous("visitor-9876543210", count=0)
        with pytest.raises(AssertionError, match=r'to an anonymous session: \{"step": 1\}'):
            assert_published_anonymous("visitor-0123456789", {"step": 2})


@pytest.mark.parametrize("assertion", [assert_broadcast, assert_not_published])
def test_without_one(assertion):
    """The error says what to do."""
    with pytest.raises(RuntimeError, match=r"ws_outbox, or capture\(\)"):
        assertion()
