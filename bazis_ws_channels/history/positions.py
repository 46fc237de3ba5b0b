"""Places in a stream of recorded messages, and what is missing between two of them. No I/O.

Each group that messages are recorded for is a *stream*. Its messages are numbered one by one, and
each gets a *mark*, a random name that its publisher makes. A position is both: the offset says
how much is missing, the mark says of which history. A Redis that lost its memory, or a replica
that took over without the newest messages, counts on with the same offsets but other marks, so
that a position of the lost history is known as one, even when the new one has caught up with its
offset. (An epoch for each stream, as other systems have it, stays the same over a failover.)
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

__all__ = [
    "STREAMS",
    "UNKNOWN",
    "Entry",
    "Position",
    "Since",
    "Tail",
    "missing",
    "new_mark",
    "since_in",
    "since_of",
    "unpack",
]

#: A session's streams, by their names on the wire: its user's and everybody's.
STREAMS: Final = ("user", "common")

#: Offsets that any number of Lua, JSON and JavaScript holds.
_TEXT = re.compile(r"(0|[1-9][0-9]{0,14})\.([A-Za-z0-9_-]{8})")
#: The byte that no serializer emits first: MessagePack never uses it, and it begins no text.
_MARKER: Final = 0xC1
_LONGEST_HEADER: Final = 64
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class Position(NamedTuple):
    """A place in a stream: that of a message, or of the beginning.

    Attributes:
        offset: the number of the message; 0 before the first.
        mark: a random name of this very message.
    """

    offset: int
    mark: str

    def __str__(self) -> str:
        return f"{self.offset}.{self.mark}"

    @classmethod
    def parse(cls, text: Any) -> Position | None:
        """Return the position that a client sent; None if it is none."""
        found = _TEXT.fullmatch(text) if isinstance(text, str) and len(text) <= 64 else None
        return cls(int(found[1]), found[2]) if found else None


#: What is in no stream: a client that resumes from here is told that it missed something.
UNKNOWN: Final = Position(0, "unknown-")


class Entry(NamedTuple):
    """A recorded message as it is stored and published.

    Attributes:
        position: its place.
        before: the mark of the message before it, so that histories can't be mixed up.
        data: the whole of it, with the header in front.
        start: where the serialized event begins in `data`.
    """

    position: Position
    before: str
    data: bytes
    start: int

    @property
    def payload(self) -> bytes:
        """The serialized event."""
        return self.data[self.start :]


class Tail(NamedTuple):
    """The end of a stream, as it was read.

    Attributes:
        top: the position of the newest message.
        entries: the messages since the position that was asked from; fewer, or none, where they
            are not kept.
    """

    top: Position
    entries: Sequence[Entry]


#: A position in each of a session's streams; None for one that is missing or malformed.
Since = tuple[Position | None, Position | None]


def new_mark() -> str:
    """Return a mark: 48 random bits, in base64url."""
    return b2a_base64(os.urandom(6), newline=False).translate(_URL_SAFE).decode()


def unpack(data: bytes) -> Entry | None:
    """Return a recorded message: the marker, offset, mark and the mark before in plain text, a
    newline, and the serialized event, as the script ``publish.lua`` puts them together; None for
    any other message.
    """
    if not data or data[0] != _MARKER:
        return None
    end = data.find(b"\n", 1, _LONGEST_HEADER)
    if end < 0:
        return None
    try:
        offset, mark, before = data[1:end].decode("ascii").split(" ")
        return Entry(Position(int(offset), mark), before, data, end + 1)
    except ValueError:
        return None


def missing(since: Position | None, tail: Tail) -> Sequence[Entry] | None:
    """Return what a holder of position `since` lacks: nothing but the whole of it will do.

    None: it is not kept any more, or the position is of another history.
    """
    if since is None:
        return None
    if since == tail.top:
        return ()
    entries = tail.entries
    if not entries or len(entries) != tail.top.offset - since.offset:
        return None
    at = since
    for entry in entries:
        if entry.position.offset != at.offset + 1 or entry.before != at.mark:
            return None
        at = entry.position
    return entries if at == tail.top else None


def since_of(value: Any) -> Since | None:
    """Return the ``since`` of a client's message; None if there is none. Whatever is no position
    is a position that nothing can be recovered from.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return (None, None)
    user, common = (Position.parse(value.get(stream)) for stream in STREAMS)
    return (user, common)


def since_in(query: bytes) -> Since | None:
    """Return the ``since`` of a handshake's query, ``<user>~<common>``, as `since_of`."""
    if b"since=" not in query:
        return None
    try:
        values = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return (None, None)
    found = values.get("since")
    if found is None:
        return None
    parts = found[0].split("~", 2) if len(found) == 1 else ()
    if len(parts) != 2:
        return (None, None)
    return (Position.parse(parts[0]), Position.parse(parts[1]))
