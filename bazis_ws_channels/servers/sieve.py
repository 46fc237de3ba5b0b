"""Frames in a stream of bytes, found by their headers (RFC 6455, section 5.2). No I/O."""

from __future__ import annotations

from collections.abc import Callable

from .rules import PAUSE_AT, PAUSE_AT_BYTES

__all__ = ["CLOSE", "PING", "PONG", "Sieve"]

#: Opcodes; those below are of data.
CLOSE, PING, PONG = 8, 9, 10
#: The first byte of a text message in one frame, and the bit of a compressed one.
_TEXT, _COMPRESSED = 0x81, 0x40
#: Bytes of a header whose length has one byte, and two.
_SMALL_HEAD, _MEDIUM_HEAD = 6, 8
#: Bytes of the mask, and of the fields that announce a length.
_MASK, _LENGTHS = 4, {126: 2, 127: 8}


class Sieve:
    """Passes bytes on, except those of frames that are refused, and counts messages.

    It never looks into a frame, and what it passes on may be wrong: that is for the parser behind
    it to say.

    Attributes:
        judge: called with each frame's opcode and the length that its header announces; False drops
            the frame.
        untaken: messages that were passed on and that the application doesn't have yet.
    """

    def __init__(self) -> None:
        self.judge: Callable[[int, int], bool] = _anything
        self.untaken = 0
        self._bytes = 0  # of those messages
        self._head = b""  # the beginning of a header
        self._rest = 0  # what of the current frame is yet to come
        self._is_passed = True  # whether that frame is passed on

    @property
    def is_full(self) -> bool:
        """Whether the application has enough to do. One message alone may be of any size, and
        may be incomplete.
        """
        return self.untaken > 1 and (self.untaken >= PAUSE_AT or self._bytes >= PAUSE_AT_BYTES)

    def take(self) -> None:
        """Note that the application has one more message."""
        self.untaken -= 1
        if self.untaken <= 1:
            self._bytes = 0

    def forget(self, judge: Callable[[int, int], bool]) -> None:
        """Judge anew from now on; nobody takes messages any more."""
        self.judge, self.untaken, self._bytes = judge, 0, 0

    def sift(self, data: bytes, most: int | None = None) -> tuple[bytes, bytes]:
        """Return what of `data` passes, and the rest, which has not been looked at.

        Args:
            most: frames to look at, fewer if the application has enough to do; None for all.
        """
        if self._head:
            data, self._head = self._head + data, b""
        passed: list[bytes] = []
        begin, at, size, looked = 0, 0, len(data), 0
        while True:
            step = min(self._rest, size - at)
            self._rest -= step
            at += step
            if not self._is_passed:
                begin = at
            if at == size or (most is not None and (looked >= most or self.is_full)):
                break
            looked += 1
            if not self._look(data, at):  # the header goes on in what comes next
                self._head, size = data[at:], at
                break
            if not self._is_passed:
                passed.append(data[begin:at])
        if begin == 0 and at == len(data):
            return data, b""
        passed.append(data[begin:at])
        return b"".join(passed), data[at:size]

    def is_one_message(self, data: bytes) -> bool:
        """Tell whether `data` is one text message, whole and judged to pass, as most reads are; it
        is counted then. False says nothing: sift it.
        """
        if self._rest or self._head:
            return False
        size = len(data)
        if size <= _SMALL_HEAD + 125:
            length = size - _SMALL_HEAD
            is_whole = length >= 0 and data[1] == 128 + length
        else:
            length = size - _MEDIUM_HEAD
            is_whole = data[1] == 254 and int.from_bytes(data[2:4]) == length
        if not is_whole or data[0] | _COMPRESSED != _TEXT | _COMPRESSED:
            return False
        if not self.judge(1, length):
            return False
        self._bytes += length
        self.untaken += 1
        return True

    def _look(self, data: bytes, at: int) -> bool:
        """Begin the frame whose header is there. Return whether all of that is."""
        if len(data) - at < 2:
            return False
        first, second = data[at], data[at + 1]
        length, head = second & 127, 2
        if length > 125:
            head += _LENGTHS[length]
            if len(data) - at < head:
                return False
            length = int.from_bytes(data[at + 2 : at + head])
        self._rest = head + (_MASK if second & 128 else 0) + length
        opcode = first & 15
        self._is_passed = self.judge(opcode, length)
        if opcode < CLOSE and self._is_passed:
            self._bytes += length
            self.untaken += first >> 7  # the frame that ends its message
        return True


def _anything(opcode: int, length: int) -> bool:
    return True
