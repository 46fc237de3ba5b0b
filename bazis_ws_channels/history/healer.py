"""The streams that the sessions of one event loop follow, and how gaps in them are healed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from ..exceptions import ChannelLayerUnavailable
from ..parcels import Parcel
from ..redis.errors import explain
from ..redis.hosts import Host
from ..types import Event
from .follower import Follower, Received, contradicts
from .positions import Entry, Position, Tail
from .reader import Reader

__all__ = ["Healer"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Longest wait before the streams are read again when Redis could not be read.
_LONGEST_SECONDS = 1.0
#: Messages held for one stream while it is being healed; with more, those lost are told.
_MOST_HELD = 1000
#: Streams after which the event loop gets a turn, however many are healed.
_STREAMS_A_TURN = 500
#: Tries to read a stream that turns out to be another one each time.
_TRIES = 3


class Healer:
    """Follows streams, and hands out what their channels' subscription missed.

    Args:
        host_of: returns the Redis server of a channel.
        decode: returns the event in a message, as Redis has it.
        hand_out: gives messages on a channel to the consumers they are for.
        tell_break: says to them at once that messages were lost, and where the stream is now.
    """

    def __init__(
        self,
        host_of: Callable[[str], Host],
        decode: Callable[[bytes], Event],
        hand_out: Callable[[str, Parcel], Awaitable[None]],
        tell_break: Callable[[str, Position], None],
    ) -> None:
        self.followers: dict[str, Follower] = {}
        self._reader = Reader(host_of)
        self._decode = decode
        self._hand_out = hand_out
        self._tell_break = tell_break
        self._task: asyncio.Task[None] | None = None
        self._is_asked_again = self._is_outage_logged = False

    # --- sessions ---------------------------------------------------------------------------

    def follow(self, channels: Sequence[str]) -> None:
        """Check from now on that what comes on these channels is whole, for one more session."""
        for channel in channels:
            self.followers.setdefault(channel, Follower()).sessions += 1

    def unfollow(self, channels: Sequence[str]) -> None:
        """Do so for one session less."""
        for channel in channels:
            if (follower := self.followers.get(channel)) is not None:
                follower.sessions -= 1
                if not follower.sessions:
                    del self.followers[channel]

    async def open(
        self, channels: Sequence[str], since: Sequence[Position | None]
    ) -> Sequence[Tail]:
        """Return the ends of the streams of one session, which follows them.

        Raises:
            ChannelLayerUnavailable: Redis is out of reach.
        """
        for _ in range(_TRIES):
            if self._task is not None and not self._task.done():
                await asyncio.wait({self._task}, timeout=_LONGEST_SECONDS)
            followers = [self.followers[channel] for channel in channels]
            before = [follower.last for follower in followers]
            tails = await self._reader.read(channels, since)
            known = [at or each.behind for at, each in zip(before, followers, strict=True)]
            if not any(map(contradicts, (tail.top for tail in tails), known)):
                for follower, tail in zip(followers, tails, strict=True):
                    follower.start(tail.top)
                return tails
            # The others are told first: this session then begins in the new history.
            self.heal()
        raise ChannelLayerUnavailable("The streams at Redis change faster than they can be read.")

    # --- messages ---------------------------------------------------------------------------

    def admits(self, follower: Follower, message: Received) -> bool:
        """Tell whether the next message on a followed channel is to be handed out, before anything
        else happens on this loop. If not, it is held until what is missing is there.
        """
        if follower.held is None:
            if message.entry is None or follower.take(message.entry):
                return True
            self.heal()
        if not _waits_for_healing(message.event):
            return True
        if follower.held is not None and len(follower.held) < _MOST_HELD:
            follower.held.append(message)
        return False

    async def hand_out(self, channel: str, follower: Follower, parcel: Parcel) -> None:
        """Hand out what was admitted, behind what is being handed out."""
        if follower.held is None or _waits_for_healing(parcel.events[0]):
            async with follower.lock:
                await self._hand_out(channel, parcel)
        else:
            await self._hand_out(channel, parcel)

    def heal(self) -> None:
        """Read the ends of all streams, for messages may have been missed; hand out what was."""
        if not self.followers:
            return
        for follower in self.followers.values():
            follower.held = follower.held or []
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._heal())
        else:
            self._is_asked_again = True

    async def close(self) -> None:
        """Stop healing, and forget the streams."""
        self.followers.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- healing ----------------------------------------------------------------------------

    async def _heal(self) -> None:
        wait = 0.05
        while True:
            self._is_asked_again = False
            try:
                is_whole = await self._heal_once()
            except Exception:
                logger.exception("Reading what was missed failed; it goes on.")
                is_whole = False
            if is_whole and not self._is_asked_again:
                return
            if not is_whole:
                await asyncio.sleep(wait * random.uniform(0.5, 1))
                wait = min(_LONGEST_SECONDS, wait * 2)

    async def _heal_once(self) -> bool:
        """Read the ends of the streams that are held, and catch up; False where Redis is away."""
        following = {c: f for c, f in self.followers.items() if f.held is not None}
        held = {channel: len(follower.held or ()) for channel, follower in following.items()}
        since = {channel: follower.last for channel, follower in following.items()}
        answers = await self._reader.answers(list(following), list(since.values()))
        pairs = zip(following, answers, strict=True)
        tails = {channel: answer for channel, answer in pairs if isinstance(answer, Tail)}
        errors = {explain(each) for each in answers if not isinstance(each, Tail)}
        self._log_outage(errors)
        for channel in tails:
            async with following[channel].lock:
                pass  # whoever is still to get a message of a lost history gets it before the break
        # Whoever came after the last one had left follows anew, and was given none of it.
        present = {c: following[c] for c in tails if self.followers.get(c) is following[c]}
        # Where the first session has begun meanwhile, what is missing since was not asked for.
        known = {c: follower for c, follower in present.items() if follower.last == since[c]}
        self._is_asked_again |= len(known) < len(present)
        gaps = self._catch_up(known, tails)
        for number, (channel, entries) in enumerate(gaps.items(), 1):
            if number % _STREAMS_A_TURN == 0:
                await asyncio.sleep(0)
            follower = following[channel]
            async with follower.lock:
                for entry in entries:
                    await self._hand_out_entry(channel, entry)
                await self._hand_out_held(channel, follower, held[channel])
        return not errors

    def _log_outage(self, errors: Collection[str]) -> None:
        """Log an outage once, and its end at the same level."""
        if errors and not self._is_outage_logged:
            what = " ".join(sorted(errors))
            logger.error("What was missed can't be read yet; it is tried again. %s", what)
        if self._is_outage_logged and not errors:
            logger.error("What was missed can be read again.")
        self._is_outage_logged = bool(errors)

    def _catch_up(
        self, following: Mapping[str, Follower], tails: Mapping[str, Tail]
    ) -> dict[str, Sequence[Entry]]:
        """Return what was missed on each channel. Where not all of it is kept, say so: on all of
        them before anything else, so that a session of several streams is told once.
        """
        gaps: dict[str, Sequence[Entry]] = {}
        for channel, follower in following.items():
            entries = follower.catch_up(tails[channel])
            gaps[channel] = entries or ()
            if entries is None:
                self._tell_break(channel, tails[channel].top)
        return gaps

    async def _hand_out_entry(self, channel: str, entry: Entry) -> None:
        try:
            event = self._decode(entry.data)
        except Exception:
            logger.exception("A message on %r can't be decoded; it is dropped.", channel)
            return
        await self._hand_out(channel, Parcel(event, entry.data))

    async def _hand_out_held(self, channel: str, follower: Follower, known: int) -> None:
        """Hand out what was held, up to the next message that continues nothing.

        Args:
            known: how many were held when the end of the stream was asked for. Those of them that
                it does not explain are of a lost history, or nobody's.
        """
        while follower.held and self.followers.get(channel) is follower:
            held = follower.held[0]
            fits = held.entry is None or follower.take(held.entry)
            if not fits and known <= 0:
                self._is_asked_again = True  # it goes on being held
                return
            known -= 1
            del follower.held[0]
            if fits:
                await self._hand_out(channel, Parcel(held.event, held.data))
        follower.held = [] if self._is_asked_again else None  # what was read may be of before


def _waits_for_healing(event: Event) -> bool:
    """Tell whether an event keeps its place among the messages: the end of a session does not."""
    kind = str(event.get("type"))
    return kind == "ws.push" or not kind.startswith("ws.")
