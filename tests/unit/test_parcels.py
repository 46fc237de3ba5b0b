"""What is handed out together."""

import json

import pytest

from bazis_ws_channels import parcels
from bazis_ws_channels.history.positions import Position
from bazis_ws_channels.parcels import Parcel, frame_of


def push(offset=None, group="g", **more):
    """Return a message, a recorded one with its offset."""
    event = {"type": "ws.push", "group": group, "text": "t", **more}
    return event if offset is None else {**event, "position": Position(offset, "12345678")}


def test_one_message():
    """Of any kind, with whatever in it."""
    parcel = Parcel(push(5, at=1.5), b"data")
    assert (parcel.kind, parcel.group, parcel.offset) == ("ws.push", "g", 5)
    assert (parcel.payloads, parcel.published_at) == ([b"data"], (1.5,))
    odd = Parcel({"position": "3", "at": "now"})
    assert (odd.kind, odd.group, odd.offset, odd.published_at) == (None, None, None, ())


def test_those_that_continue_one_another_fit():
    """Recorded ones by their offsets; of those that are not, any of the group."""
    parcel = Parcel(push(5, at=1.0), b"5")
    for offset in (6, 7):
        assert parcel.fits(push(offset), b"x")
        parcel.add(push(offset, at=2.0), b"%d" % offset)
    assert parcel.payloads == [b"5", b"6", b"7"]
    assert parcel.offset == 5
    assert parcel.published_at == (1.0, 2.0, 2.0)
    plain = Parcel(push(), b"a")
    assert plain.fits(push(), b"b")


@pytest.mark.parametrize(
    "event",
    [push(6), push(9), push(), push(8, "h"), {**push(8), "type": "ws.end"}, {"position": None}],
)
def test_what_does_not_fit(event):
    """Twice, with a gap, unrecorded, of another group or kind."""
    parcel = Parcel(push(6), b"6")
    parcel.add(push(7), b"7")
    assert not parcel.fits(event, b"x")


def test_other_kinds_stand_alone():
    """Two of the same kind, too; and an unrecorded message takes no recorded one in."""
    end = {"type": "ws.end", "group": "g"}
    assert not Parcel(end).fits(end, b"")
    assert not Parcel(push()).fits(push(1), b"")


def test_a_parcel_is_no_larger_than_one_write(monkeypatch):
    """But for a single message, which may be any size."""
    monkeypatch.setattr(parcels, "_MOST_BYTES", 5)
    parcel = Parcel(push(), b"123456")
    assert not parcel.fits(push(), b"")
    parcel = Parcel(push(), b"123")
    assert parcel.fits(push(), b"45")
    assert not parcel.fits(push(), b"456")


def test_frames_are_made_once():
    """With a position, where the messages have one; or by one who got a single message."""
    first, second = push(5, text='{"n":5}'), push(6, text='{"n":6}')
    parcel = Parcel(first)
    parcel.add(second, b"")
    made = frame_of(first, "user")
    frames = parcel.frames("user")
    assert frames.texts[0] is made
    assert [json.loads(text) for text in frames.texts] == [
        {"n": 5, "position": {"user": "5.12345678"}},
        {"n": 6, "position": {"user": "6.12345678"}},
    ]
    assert parcel.frames("user") is frames
    assert Parcel(push()).frames("user").texts == ["t"]
