"""How much one client may send."""

import pytest

from bazis_ws_channels.connection.limits import Limits, Refusal


@pytest.fixture
def limits(settings, clock):
    """One frame a second, two at once, of 10 bytes."""
    settings.BAZIS_WS_FRAMES_PER_SECOND, settings.BAZIS_WS_FRAMES_BURST = 1, 2
    settings.BAZIS_WS_MAX_FRAME_BYTES, settings.BAZIS_WS_MAX_BAD_MESSAGES = 10, 3
    return Limits(clock)


@pytest.mark.parametrize(
    ("text", "data"), [("x" * 11, None), ("ü" * 6, None), (None, b"x" * 11)], ids=repr
)
def test_a_frame_that_is_too_big_ends_the_connection(limits, text, data):
    """By its bytes."""
    verdict = limits.admit(text, data)
    assert verdict == Refusal("message_too_big", "At most 10 bytes a frame", 4413)


def test_frames_up_to_the_limit_pass(limits):
    """Empty ones too, and binary ones: what they mean is asked later."""
    assert limits.admit("ü" * 5, None) is True
    assert limits.admit(None, None) is True


def test_a_flood_is_told_once_and_then_cut_off(limits, clock):
    """Between the two, frames are dropped without a word."""
    verdicts = [limits.admit("x", None) for _ in range(5)]
    told = Refusal("rate_limited", "At most 1 frames a second; dropped")
    assert verdicts[:4] == [True, True, told, False]
    assert verdicts[4] == Refusal("rate_limited", "Too many frames", 4429)


def test_who_slows_down_is_forgiven(limits, clock):
    """Bit by bit."""
    for _ in range(4):
        limits.admit("x", None)
    for _ in range(2):
        clock.move(1)
        assert limits.admit("x", None) is True
    told = limits.admit("x", None)
    assert told.close is None
    assert told.code == "rate_limited"


def test_bad_messages_are_counted(limits):
    """The last one closes."""
    verdicts = [limits.bad_message("why") for _ in range(3)]
    assert [verdict.close for verdict in verdicts] == [None, None, 4400]
    assert {verdict.detail for verdict in verdicts} == {"why"}
