"""The link on which subscriptions are made: written in batches, read with pings in its silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.exceptions import NoPermissionError

from .subscriptions import batches

__all__ = ["Wire"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Seconds without a word from Redis before it is pinged, and then for its answer.
_PING_SECONDS = 15.0
_PONG_SECONDS = 3.0


class Wire:
    """One redis-py connection after another, of a subscriber.

    Args:
        asked: called with each channel for which a SUBSCRIBE is written.

    Attributes:
        link: the present connection; None while there is none.
        heard_at: when something came last, by the loop's clock.
    """

    def __init__(self, asked: Callable[[str], None]) -> None:
        self.link: Any = None
        self._asked = asked
        self._commands: list[tuple[str, str]] = []
        self._writes: set[asyncio.Future[None]] = set()
        self._unanswered_patterns = 0
        self.heard_at = 0.0
        self._is_checking = False

    def drop(self) -> None:
        """Forget the link, and what was to be written on it."""
        self.link = None
        self._commands.clear()
        self._unanswered_patterns = 0

    def put(self, verb: str, channel: str) -> None:
        """Write a command at the end of this turn of the loop, together with the others."""
        if self.link is None:
            return  # the next connection subscribes to all that is wanted
        if not self._commands:
            asyncio.get_running_loop().call_soon(self._write)
        self._commands.append((verb, channel))

    async def read(self) -> Any:
        """Return what Redis says next.

        Raises:
            redis.RedisError, OSError: the link broke, or is silent though it was pinged.
        """
        reply = await self._read(_PING_SECONDS)
        if reply is None:
            # Also where redis-py takes an ETIMEDOUT for "nothing came": writing fails.
            async with asyncio.timeout(_PONG_SECONDS):
                await self.link.send_command("PING", check_health=False)
            reply = await self._read(_PONG_SECONDS)
        if reply is None:
            raise TimeoutError("Redis doesn't answer on the subscriptions' connection.")
        self.heard_at = asyncio.get_running_loop().time()
        if reply[0] == b"psubscribe":
            self._unanswered_patterns -= 1
        return reply

    def check(self, on_silence: Callable[[], None]) -> None:
        """Ping now; call `on_silence` if nothing comes."""
        if self.link is not None and not self._is_checking:
            self._is_checking = True
            self.put("PING", "")
            loop = asyncio.get_running_loop()
            loop.call_later(_PONG_SECONDS, self._checked, self.link, loop.time(), on_silence)

    def is_silent(self, link: Any, since: float) -> bool:
        """Tell whether nothing has come over a link since a moment, and it is still this one's."""
        return link is not None and self.link is link and self.heard_at < since

    def _checked(self, link: Any, asked_at: float, on_silence: Callable[[], None]) -> None:
        self._is_checking = False
        if self.is_silent(link, asked_at):
            on_silence()

    def _write(self) -> None:
        commands, self._commands = self._commands, []
        link = self.link
        if link is None:
            return
        for verb, channel in commands:
            if verb == "SUBSCRIBE":
                self._asked(channel)
            elif verb == "PSUBSCRIBE":
                self._unanswered_patterns += 1
        packed = link.pack_commands(batches(commands))
        # A failure here ends the connection, which whoever reads notices.
        write = asyncio.ensure_future(link.send_packed_command(packed, check_health=False))
        self._writes.add(write)
        write.add_done_callback(self._written)

    def _written(self, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()

    async def _read(self, limit_seconds: float) -> Any:
        """Return what Redis says next; None if it says nothing for a while."""
        try:
            return await self.link.read_response(
                timeout=limit_seconds, disconnect_on_error=False, push_request=True
            )
        except NoPermissionError as error:
            if not self._unanswered_patterns:
                raise
            self._unanswered_patterns = 0
            logger.warning(
                "Redis permits no PSUBSCRIBE to this user, so messages that channels-redis's own"
                " layer sends to a single channel don't arrive. All others do. (%s)",
                error,
            )
            return [b"refused"]
