"""Messages of one channel that came one after another and are handed out together. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .protocol import positioned
from .types import Event

__all__ = ["Frames", "Parcel", "frame_of", "published_at"]

#: Bytes up to which messages are put together: a socket's buffer takes them with one write.
_MOST_BYTES = 65536
#: The kind of messages that are put together.
_PUSH = "ws.push"


class Frames:
    """Text frames that many clients get, in order.

    Attributes:
        texts: the frames.
        wire: the same as bytes of WebSocket frames, for servers whose sockets we write to. The
            first writer makes them; None before.
    """

    __slots__ = ("texts", "wire")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.wire: bytes | None = None


class Parcel:
    """One message, or several published to one group that continue one another.

    All recipients share the events.

    Attributes:
        kind: the ``type`` of all events.
        group: the group they are for, where their kind has one.
        events: in order.
        payloads: the same, as Redis sent them.
        offset: the place of the first in its stream; None if they are not recorded.
        published_at: when they were published, in seconds since the epoch; without those events
            that don't say.
    """

    __slots__ = (
        "_bytes",
        "_frames",
        "events",
        "group",
        "kind",
        "offset",
        "payloads",
        "published_at",
    )

    def __init__(self, event: Event, payload: bytes = b"") -> None:
        self.kind: Any = event.get("type")
        self.group: Any = event.get("group")
        self.events = [event]
        self.payloads = [payload]
        self.offset = _offset(event)
        self.published_at = published_at(event)
        self._frames: Frames | None = None
        self._bytes = len(payload)

    def fits(self, event: Event, payload: bytes) -> bool:
        """Tell whether the channel's next message may be added: it continues this one, and there is
        room.
        """
        following = None if self.offset is None else self.offset + len(self.events)
        return (
            self.kind == event.get("type") == _PUSH
            and self.group == event.get("group")
            and _offset(event) == following
            and self._bytes + len(payload) <= _MOST_BYTES
        )

    def add(self, event: Event, payload: bytes) -> None:
        """Add a message that fits."""
        self.events.append(event)
        self.payloads.append(payload)
        self.published_at += published_at(event)
        self._bytes += len(payload)

    def frames(self, stream: str) -> Frames:
        """Return the frames for clients that have missed nothing; made once for all of them.

        Args:
            stream: the name of the messages' stream, if they are recorded.
        """
        if self._frames is None:
            if self.offset is None:
                texts = [event["text"] for event in self.events]
            else:
                texts = [frame_of(event, stream) for event in self.events]
            self._frames = Frames(texts)
        return self._frames


def frame_of(event: Event, stream: str) -> str:
    """Return the frame of a recorded message, with its position in the stream of that name; made
    once for all recipients of the event.
    """
    if "frame" not in event:
        event["frame"] = positioned(event["text"], stream, str(event["position"]))
    frame: str = event["frame"]
    return frame


def _offset(event: Event) -> int | None:
    # Any code can send an event that looks like ours; only a recorded one has a tuple there.
    position = event.get("position")
    return position[0] if isinstance(position, tuple) else None


def published_at(event: Event) -> tuple[float, ...]:
    """Return when a message was published: one number, in seconds since the epoch; none if the
    event doesn't say.
    """
    at = event.get("at")
    return (at,) if isinstance(at, float) else ()
