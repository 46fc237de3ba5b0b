"""An authenticated stretch of a connection: its groups, presence, expiry and end."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import logging
import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from ..auth.identity import Identity
from ..auth.reauthorization import Verdict, current_reauthorizer
from ..counters import counts
from ..history.positions import STREAMS, Since
from ..parcels import Parcel
from ..presence.roster import Watcher
from ..presence.tracker import current_tracker
from ..protocol import CLOSE_AUTH, subscribed_frame
from ..types import Event
from ..users import namespace_of
from .expiry import Expiry
from .line import Line
from .replay import Place, Replay, Resumption
from .watches import Watches

__all__ = ["Session"]

logger = logging.getLogger("bazis_ws_channels")

#: Ends a session as the owner of an identity, with an error code, its detail and a close code.
End = Callable[["Session", Identity, str, str, int | None], None]


class Session:
    """One user's session on one connection.

    `open` joins the groups first. Frames that arrive before the session is live are held, so that
    no message counted by `ws_publish` is lost, and a client that is refused sees none of them.

    Args:
        watcher: refreshes watched users when changes may have been missed.
        layer: the channel layer.
        channel: the connection's own channel.
        line: sends frames to the client.
        lock: held while the session changes.
        end: called when the session must end.

    Attributes:
        user: as last loaded from the database.
        context: in which the session was opened.
        has_ended: whether nothing is delivered any more.
    """

    #: Whether it is a session without a user: `pk` is None then.
    is_anonymous: ClassVar = False
    #: Streams whose messages are recorded for it.
    recorded: ClassVar[Collection[str]] = STREAMS

    def __init__(
        self,
        identity: Identity,
        watcher: Watcher,
        layer: Any,
        channel: str,
        line: Line,
        lock: asyncio.Lock,
        end: End,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.identity = identity
        self.user = identity.user
        self.context = contextvars.copy_context()
        self.pk = identity.user.pk
        self._groups = identity.groups
        self.group = self._groups["user"]
        self.is_live = False
        self.has_ended = False
        self.watches = Watches(layer, channel, line.push, namespace_of(identity.key))
        self._watcher = watcher
        self._layer = layer
        self._channel = channel
        self._line = line
        self._lock = lock
        self._end = end
        self._held: list[Event] = []
        self._replay = Replay(layer, self._groups, line.push, self.recorded)
        self._expiry = Expiry(self._expired)

    async def open(self, since: Since | None) -> None:
        """Join the groups, write the presence, tell the client, and give what it missed.

        Args:
            since: the position from which the client resumes.

        Raises:
            SessionRefused: the token is revoked, or the user has too many connections.
            ChannelLayerUnavailable, PresenceUnavailable: Redis is out of reach.
        """
        # Join the groups before checking revocations: a revocation in between arrives through
        # the group.
        for group in self._groups.values():
            await self._layer.group_add(group, self._channel)
        # Read the streams after joining and before anybody counts this session: then what comes
        # live begins where they end, and nothing that was counted is before that.
        early = len(self._held)
        resumption = await self._replay.open(since)
        self._held = _of_this_history(self._held, early, self._replay.places)
        await self._connect(self.identity)
        self._start(self.identity, resumption)
        self._enlist()
        counts.delivered += len(resumption.frames)
        if resumption.recovered is not None:
            counts.recovered[str(resumption.recovered).lower()] += 1
        for frame in resumption.frames:
            self._line.push(frame)
        held, self._held = self._held, []
        for event in held:
            self._replay.give(event)

    async def renew(self, identity: Identity, since: Since | None) -> None:
        """Continue with a newer token of the same user. Groups and watches stay.

        Args:
            since: the client's position, of which nothing is missing: the session goes on.

        Raises:
            SessionRefused: the token is revoked.
            PresenceUnavailable: Redis is out of reach.
        """
        await self._connect(identity)
        self.identity, self.user = identity, identity.user
        self._start(identity, self._replay.renew(since))
        await self._ask_again()

    def stop(self) -> None:
        """Deliver nothing any more."""
        if self.is_live:
            self._delist()
        self.is_live, self.has_ended = False, True
        self._expiry.cancel()

    async def close(self) -> None:
        """Leave the groups and disconnect from presence. Raises no errors of Redis."""
        self.stop()
        self._replay.close()
        await self.watches.clear()
        for group in self._groups.values():
            await self._layer.group_discard(group, self._channel)
        await current_tracker().disconnect(self.id)

    def deliver(self, parcel: Parcel) -> None:
        """Push what was sent to a group, if it is for this session."""
        place = self._replay.places.get(parcel.group)
        if place is None:
            return  # sent to a former session, still in the queue
        if not self.is_live:
            self._held += parcel.events
        elif parcel.kind == "ws.push" and place.move_behind(parcel):
            # One of many who get these messages, in their turn: as little as can be.
            self._line.push_all(parcel.frames(place.stream))
            counts.note_delivered(len(parcel.events), parcel.published_at)
        else:
            for event in parcel.events:
                self._replay.give(event)

    def is_ended_by(self, event: Event) -> bool:
        """Tell whether a ``ws.end`` event means this session."""
        return event["group"] == self.group and self.identity.is_ended_by(
            event.get("jti"), event.get("before")
        )

    # --- looking again ----------------------------------------------------------------------

    def judge(self, verdict: Verdict) -> None:
        """End the session, or go on with the user and the expiry that were found."""
        if not self.is_live or verdict.identity is not self.identity:
            return  # a newer token has come meanwhile, and was looked at
        if verdict.ending is not None:
            return self._end(self, verdict.identity, *verdict.ending, CLOSE_AUTH)
        if verdict.user is not None:
            self.user = verdict.user
        known = self.identity.django_session
        if known is not None and known.key and known.expires_at != verdict.expires_at:
            known = dataclasses.replace(known, expires_at=verdict.expires_at)  # prolonged
            self.identity = dataclasses.replace(self.identity, django_session=known)
            self._expiry.set(known.expires_at)

    async def ask_again(self) -> None:
        """Ask the project again whom this user may watch; end the watches that it refuses now."""
        if self.watches:
            async with self._lock:
                if self.is_live:
                    await self._ask_again()

    def restamp(self, old: str, new: str) -> None:
        """Go on after a password's hash, not the password, was replaced."""
        if self.identity.stamp == old:
            self.identity = dataclasses.replace(self.identity, stamp=new)

    async def _ask_again(self) -> None:
        try:
            await self.watches.ask_again(self.user)
        except Exception:
            logger.exception("ws_can_watch() of user %s failed; the watches go on.", self.pk)

    # --- the beginning and the end ----------------------------------------------------------

    def _enlist(self) -> None:
        """Be counted, and looked at again, from now on."""
        counts.sessions += 1
        current_reauthorizer().add(self)

    def _delist(self) -> None:
        counts.sessions -= 1
        current_reauthorizer().discard(self)

    async def _connect(self, identity: Identity) -> None:
        await current_tracker().connect(self.id, identity.key, self._watcher, identity.token)

    def _start(self, identity: Identity, resumption: Resumption) -> None:
        """Start, or go on, until the identity's end."""
        left = self._expiry.set(identity.expires_at)
        expires_in = None if left is None else math.floor(left)
        self.is_live = True
        position, recovered, frames = resumption
        self._line.push(subscribed_frame(self.pk, expires_in, position, recovered, len(frames)))

    def _expired(self) -> None:
        if self.identity.claims is None:
            # A Django session may have been prolonged meanwhile.
            current_reauthorizer().look_at(self)
        else:
            self._end(self, self.identity, "expired_token", "Token expired", None)


def _of_this_history(
    events: Sequence[Event], early: int, places: Mapping[str, Place]
) -> list[Event]:
    """Return what a session that has just read its streams may be given of what it held: not the
    news of lost messages, nor what was recorded before them.

    Args:
        early: how many events came before the streams were read. Those of them that were recorded
            are in what was read, or of a history that Redis has lost since.
        places: the session's, by group.
    """
    kept: list[Event] = []
    broken: set[str] = set()
    for number, event in reversed([*enumerate(events)]):
        group = event["group"]
        is_recorded = event.get("position") is not None and places[group].last is not None
        if event["type"] == "ws.missed":
            broken.add(group)
        elif not is_recorded or (number >= early and group not in broken):
            kept.append(event)
    return kept[::-1]
