"""The streams of one session: where its client is in them, and what it is given."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..history.base import Streams
from ..history.positions import STREAMS, Entry, Position, Since, missing
from ..protocol import positioned
from ..types import Event

__all__ = ["Replay", "Resumption"]

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


class Replay:
    """Follows one session's streams.

    Args:
        layer: the channel layer.
        groups: those of the streams, in the order of `STREAMS`.

    Attributes:
        streams: names of the streams by group.
        lost: positions that the client is to be told of as `missed`, by stream.
    """

    def __init__(self, layer: Any, groups: Sequence[str]) -> None:
        self.streams = dict(zip(groups, STREAMS, strict=True))
        self.lost: dict[str, str] = {}
        self._groups = groups
        self._given: dict[str, Position] = {}
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
        self._given = {group: tail.top for group, tail in zip(self._groups, tails, strict=True)}
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
        if not self._given:
            return Resumption(None, None)
        if since is None:
            return Resumption(self._position(), None)
        given = (self._given[group] for group in self._groups)
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
        position = event.get("position")
        if position is None or not self._given:
            text: str = event["text"]
            return text
        group = event["group"]
        ahead = position[0] - self._given[group].offset
        if ahead <= 0:
            return None  # it was read from the history before it came
        stream = self.streams[group]
        if ahead > 1:
            self.lost[stream] = str(position)  # nothing should get as far as this
        self._given[group] = position
        frame: str | None = event.get("frame")
        if frame is None:
            frame = event["frame"] = positioned(event["text"], stream, str(position))
        return frame

    def lose(self, event: Event) -> None:
        """Note that messages of a stream are lost, and where it goes on."""
        group, position = event["group"], Position(*event["position"])
        if self._given:
            self._given[group] = position
            self.lost[self.streams[group]] = str(position)

    def _position(self) -> dict[str, str]:
        return {stream: str(self._given[group]) for group, stream in self.streams.items()}

    def _replayed(self, history: Streams, stream: str, entry: Entry) -> str:
        frame = history.decode(entry)["text"]
        return positioned(frame, stream, str(entry.position), replayed=True)
