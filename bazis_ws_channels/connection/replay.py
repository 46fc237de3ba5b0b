"""The streams of one session: where its client is in them, and what it is given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..counters import counts
from ..history.base import Streams
from ..history.positions import STREAMS, Entry, Position, Since, missing
from ..parcels import Parcel, frame_of, published_at
from ..protocol import missed_frame, positioned
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

    def move_behind(self, parcel: Parcel) -> bool:
        """Go behind messages, if they are what comes next. Tell whether they are."""
        if parcel.offset is not None:
            if parcel.offset != self.next_offset:
                return False
            self.next_offset += len(parcel.events)
            self.last = parcel.events[-1]["position"]
        return True


class Replay:
    """Follows one session's streams.

    Args:
        layer: the channel layer.
        groups: those whose messages the session gets, by stream.
        write: sends a text frame to the client.
        recorded: the streams that have positions.

    Attributes:
        places: where the session is in its streams, by group.
    """

    def __init__(
        self,
        layer: Any,
        groups: Mapping[str, str],
        write: Callable[[str], None],
        recorded: Collection[str] = STREAMS,
    ) -> None:
        self.places = {group: Place(stream) for stream, group in groups.items()}
        #: What the client is to be told of as `missed`, by stream.
        self._lost: dict[str, str] = {}
        self._write = write
        self._groups = [group for stream, group in groups.items() if stream in recorded]
        self._history: Streams | None = getattr(layer, "streams", None)
        self._is_open = False

    async def open(self, since: Since | None) -> Resumption:
        """Begin: read where the streams end, and what the client missed.

        Raises:
            ChannelLayerUnavailable: Redis is out of reach.
        """
        history = self._history
        if history is None or not history.is_on or not self._groups:
            return Resumption(None, None)
        self._is_open = True
        wanted = self._wanted(since)
        tails = await history.open(self._groups, list(wanted.values()))
        for group, tail in zip(self._groups, tails, strict=True):
            self.places[group].move(tail.top)
        if since is None:
            return Resumption(self._position(), None)
        streams = zip(wanted.items(), tails, strict=True)
        gaps = {stream: missing(at, tail) for (stream, at), tail in streams}
        if None in gaps.values() or self._is_foreign(since):
            return Resumption(self._position(), False)
        try:
            frames = [
                self._replayed(history, stream, entry)
                for stream, gap in gaps.items()
                for entry in gap or ()
            ]
        except Exception:
            # Written under other encryption keys, say. The client must not come back with it.
            logger.exception("Recorded messages can't be decoded; a client is told so.")
            return Resumption(self._position(), False)
        return Resumption({stream: str(at) for stream, at in wanted.items()}, True, frames)

    def renew(self, since: Since | None) -> Resumption:
        """Go on with a session that has missed nothing."""
        if not self._is_open:
            return Resumption(None, None)
        self._tell()  # the position is behind it
        if since is None:
            return Resumption(self._position(), None)
        wanted = self._wanted(since)
        is_own = not self._is_foreign(since) and all(
            (at := wanted[place.stream]) is not None and at.offset <= place.last.offset
            for place in self.places.values()
            if place.last is not None
        )
        return Resumption(self._position(), is_own)

    def close(self) -> None:
        """Follow the streams no longer."""
        self._lost.clear()
        if self._is_open and self._history is not None:
            self._is_open = False
            self._history.close(self._groups)

    def give(self, event: Event) -> None:
        """Send the client what an event holds, unless it has it."""
        if event["type"] == "ws.missed":
            return self._lose(event)
        place, position = self.places[event["group"]], event.get("position")
        if position is None or place.last is None:
            counts.note_delivered(1, published_at(event))
            return self._write(event["text"])
        ahead = position[0] - place.last.offset
        if ahead <= 0:
            return  # it was read from the history before it came
        if ahead > 1:
            self._lost[place.stream] = str(position)  # nothing should get as far as this
        if self._lost:
            self._tell()
        place.move(position)
        counts.note_delivered(1, published_at(event))
        self._write(frame_of(event, place.stream))

    def _lose(self, event: Event) -> None:
        """Note that messages of a stream are lost, and where it goes on."""
        place, position = self.places[event["group"]], Position(*event["position"])
        if place.last in (None, position):
            return  # it begins there, or was told before: it read the stream after the loss
        if not self._lost:
            # All streams that broke are told together.
            asyncio.get_running_loop().call_soon(self._tell)
        place.last = position
        self._lost[place.stream] = str(position)
        for each in self.places.values():
            each.next_offset = 0  # nothing is given before this is told

    def _tell(self) -> None:
        """Tell what is lost, if it is not told yet."""
        lost, self._lost = self._lost, {}
        if not lost:
            return
        self._write(missed_frame(lost))
        counts.missed += 1
        for place in self.places.values():
            if place.last is not None:
                place.move(place.last)

    def _position(self) -> dict[str, str]:
        places = self.places.values()
        return {place.stream: str(place.last) for place in places if place.last is not None}

    def _wanted(self, since: Since | None) -> dict[str, Position | None]:
        """Return the client's position in each recorded stream."""
        named = dict(zip(STREAMS, since or (None, None), strict=True))
        return {(stream := self.places[group].stream): named[stream] for group in self._groups}

    def _is_foreign(self, since: Since) -> bool:
        """Tell whether a position names a stream that is not recorded here: it is of a session
        of another kind.
        """
        named = {stream for stream, at in zip(STREAMS, since, strict=True) if at is not None}
        return not named <= self._wanted(None).keys()

    def _replayed(self, history: Streams, stream: str, entry: Entry) -> str:
        frame = history.decode(entry)["text"]
        return positioned(frame, stream, str(entry.position), replayed=True)
