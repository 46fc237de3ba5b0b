"""The streams of one session: where its client is in them, and what it is given."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..history.base import Streams
from ..history.positions import STREAMS, Entry, Position, Since, missing
from ..protocol import positioned
from ..types import Event

__all__ = ["Place", "Replay", "Resumption"]

logger = logging.getLogger("bazis_ws_channels")


class Resumption(NamedTuple):
    """How a session begins, or goes on.

    Attributes:
        position: where what follows begins, by stream; None where nothing is recorded.
        recovered: whether everything since the client's position follows; None if it sent none.
        frames: what is replayed.
    """

    position: dict[str, str] | None
    recovered: bool | None
    frames: Sequence[str] = ()


class Place:
    """Where one session is in one stream.

    Attributes:
        stream: the stream's name.
        last: the position of what it was given last; None where nothing is recorded.
        next_offset: the offset of what it is given next; 0 where that is not known, or where
            something else is to be told first.
    """

    __slots__ = ("last", "next_offset", "stream")

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.last: Position | None = None
        self.next_offset = 0

    def move(self, position: Position) -> None:
        """Go to a position."""
        self.last = position
        self.next_offset = position.offset + 1


class Replay:
    """Follows one session's streams.

    Args:
        layer: the channel layer.
        groups: those of the streams, in the order of `STREAMS`.

    Attributes:
        places: where the session is in its streams, by group.
        lost: positions that the client is to be told of as `missed`, by stream.
    """

    def __init__(self, layer: Any, groups: Sequence[str]) -> None:
        self.places = {group: Place(stream) for group, stream in zip(groups, STREAMS, strict=True)}
        self.lost: dict[str, str] = {}
        self._groups = groups
        self._history: Streams | None = getattr(layer, "streams", None)
        self._is_open = False

    async def open(self, since: Since | None) -> Resumption:
        """Begin: read where the streams end, and what the client missed.

        Raises:
            ChannelLayerUnavailable: Redis is out of reach.
        """
        history = self._history
        if history is None or not history.is_on:
            return Resumption(None, None)
        self._is_open = True
        tails = await history.open(self._groups, since or (None, None))
        for place, tail in zip(self.places.values(), tails, strict=True):
            place.move(tail.top)
        if since is None:
            return Resumption(self._position(), None)
        gaps = [missing(each, tail) for each, tail in zip(since, tails, strict=True)]
        if any(gap is None for gap in gaps):
            return Resumption(self._position(), False)
        try:
            frames = [
                self._replayed(history, stream, entry)
                for stream, gap in zip(STREAMS, gaps, strict=True)
                for entry in gap or ()
            ]
        except Exception:
            # Written under other encryption keys, say. The client must not come back with it.
            logger.exception("Recorded messages can't be decoded; a client is told so.")
            return Resumption(self._position(), False)
        return Resumption(dict(zip(STREAMS, map(str, since), strict=True)), True, frames)

    def renew(self, since: Since | None) -> Resumption:
        """Go on with a session that has missed nothing."""
        given = [place.last for place in self.places.values() if place.last is not None]
        if not given:
            return Resumption(None, None)
        if since is None:
            return Resumption(self._position(), None)
        is_own = all(
            at is not None and at.offset <= newest.offset
            for at, newest in zip(since, given, strict=True)
        )
        return Resumption(self._position(), is_own)

    def close(self) -> None:
        """Follow the streams no longer."""
        if self._is_open and self._history is not None:
            self._is_open = False
            self._history.close(self._groups)

    def take(self, event: Event) -> str | None:
        """Return the frame of a message; None if the client has it. The frame is made once for all
        who get the event, and kept in it.
        """
        place, position = self.places[event["group"]], event.get("position")
        if position is None or place.last is None:
            text: str = event["text"]
            return text
        ahead = position[0] - place.last.offset
        if ahead <= 0:
            return None  # it was read from the history before it came
        if ahead > 1:
            self.lost[place.stream] = str(position)  # nothing should get as far as this
        place.move(position)
        frame: str | None = event.get("frame")
        if frame is None:
            frame = event["frame"] = positioned(event["text"], place.stream, str(position))
        return frame

    def lose(self, event: Event) -> None:
        """Note that messages of a stream are lost, and where it goes on."""
        place, position = self.places[event["group"]], Position(*event["position"])
        if place.last is None:
            return
        place.last = position
        self.lost[place.stream] = str(position)
        for each in self.places.values():
            each.next_offset = 0  # nothing is given before this is told

    def told(self) -> dict[str, str]:
        """Return what is lost, which is told now."""
        lost, self.lost = self.lost, {}
        for place in self.places.values():
            if place.last is not None:
                place.move(place.last)
        return lost

    def _position(self) -> dict[str, str]:
        return {place.stream: str(place.last) for place in self.places.values()}

    def _replayed(self, history: Streams, stream: str, entry: Entry) -> str:
        frame = history.decode(entry)["text"]
        return positioned(frame, stream, str(entry.position), replayed=True)
