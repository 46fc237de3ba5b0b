"""Frames found in a stream of bytes, however it is cut."""

import itertools

import pytest

from bazis_ws_channels.servers.sieve import CLOSE, PING, PONG, Sieve
from tests.kit.raw import BINARY, CONTINUATION, TEXT, frame

STREAM = [
    (TEXT, 20),
    (PING, 0),
    (BINARY, 126),
    (CONTINUATION, 70_000),
    (PONG, 125),
    (TEXT, 0),
    (CLOSE, 2),
]


class Judge:
    """Refuses some opcodes, and notes what it was asked."""

    def __init__(self, *refused):
        self.refused, self.seen = refused, []

    def __call__(self, opcode, length):
        self.seen.append((opcode, length))
        return opcode not in self.refused


def sifted(sieve, data, size):
    """Pass data in pieces of that size; return what came out."""
    return b"".join(
        sieve.sift(data[begin : begin + size])[0] for begin in range(0, len(data), size)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 10**6])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("refused", [(), (PING,), (PING, PONG), (TEXT, PING), tuple(range(16))])
def test_frames_are_found_however_they_are_cut(size, masked, refused):
    """Each is judged once, by its header; what is refused is missing, and nothing else."""
    frames = [frame(kind, b"x" * length, masked=masked) for kind, length in STREAM]
    sieve, judge = Sieve(), Judge(*refused)
    sieve.judge = judge
    passed = [each for each, (kind, _) in zip(frames, STREAM, strict=True) if kind not in refused]
    assert sifted(sieve, b"".join(frames), size) == b"".join(passed)
    assert judge.seen == STREAM


def test_a_frame_is_judged_before_it_is_there():
    """By what its header announces, of up to eight bytes."""
    sieve, judge = Sieve(), Judge(BINARY)
    sieve.judge = judge
    assert sieve.sift(frame(BINARY, length=2**62)) == (b"", b"")
    assert judge.seen == [(BINARY, 2**62)]


def test_few_frames_are_looked_at():
    """The rest comes back as it is."""
    sieve, one = Sieve(), frame(PING, b"x")
    assert sieve.sift(one * 10, 3) == (one * 3, one * 7)
    assert sieve.sift(one * 10) == (one * 10, b"")


def test_messages_are_counted_by_their_last_frame():
    """Control frames, unfinished messages and what is refused are none."""
    sieve = Sieve()
    sieve.judge = Judge(BINARY)
    sieve.sift(frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(PING))
    assert sieve.untaken == 0
    sieve.sift(frame(CONTINUATION) + frame(TEXT) + frame(BINARY))
    assert sieve.untaken == 2


def test_enough_for_the_application():
    """Eight messages, or two big ones; a single one never is, for the rest of it may be to come."""
    sieve, small, big = Sieve(), frame(TEXT, b"x"), frame(TEXT, b"x" * 70_000)
    assert sieve.sift(small * 10, 100) == (small * 8, small * 2)
    for _ in range(8):
        assert sieve.is_full == (sieve.untaken == 8)
        sieve.take()
    assert sieve.sift(big[:100], 100) == (big[:100], b"")
    assert not sieve.is_full
    assert sieve.sift(big[100:] + big * 2, 100) == (big[100:] + big, big)
    assert sieve.is_full
    sieve.take()
    assert not sieve.is_full


def test_one_message():
    """The way of most reads counts as the other does."""
    sieve, judge, sizes = Sieve(), Judge(), [0, 125, 126, 65_000]
    sieve.judge = judge
    for size in sizes:
        assert sieve.is_one_message(frame(TEXT, b"x" * size))
    assert (sieve.untaken, judge.seen) == (4, [(TEXT, size) for size in sizes])
    assert sieve.is_one_message(frame(TEXT, b"compressed", rsv=4))
    for _ in range(3):
        sieve.take()
    judge.refused = (TEXT,)
    assert not sieve.is_one_message(frame(TEXT))
    assert sieve.untaken == 2


@pytest.mark.parametrize(
    "data",
    [
        b"\x81",
        frame(TEXT, b"x", fin=False),
        frame(TEXT, b"x", rsv=2),
        frame(BINARY, b"x"),
        frame(TEXT, b"x", masked=False),
        frame(TEXT, b"x" * 126, masked=False),
        frame(TEXT, b"x" * 126)[:-1],
        frame(TEXT, b"x" * 70_000),
        frame(TEXT, b"x") * 2,
        frame(TEXT, b"x") * 50,
        frame(TEXT, b"xx")[:-1],
    ],
)
def test_nothing_else_is_one_message(data):
    """It is not even judged."""
    sieve, judge = Sieve(), Judge()
    sieve.judge = judge
    assert not sieve.is_one_message(data)
    assert (sieve.untaken, judge.seen) == (0, [])


def test_what_looks_like_a_message_in_the_middle_of_a_frame():
    """Or of a header."""
    small = frame(TEXT, b"x")
    for begin in (frame(BINARY, length=1000), b"\x82\xfe"):
        sieve = Sieve()
        sieve.sift(begin)
        assert not sieve.is_one_message(small)


def test_judging_anew():
    """What is on its way goes on; nobody takes messages."""
    sieve, text = Sieve(), frame(TEXT, b"x" * 10)
    sieve.sift(text * 3 + text[:8])
    sieve.forget(Judge(*range(CLOSE), PING, PONG))
    assert sieve.untaken == 0
    close = frame(CLOSE, b"\x03\xe8")
    flood = b"".join(itertools.repeat(text + frame(PING), 20))
    assert sieve.sift(text[8:] + flood + close + flood)[0] == text[8:] + close
    assert not sieve.is_full
