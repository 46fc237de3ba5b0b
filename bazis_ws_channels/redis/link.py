"""One connection that carries subscriptions, watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from redis.exceptions import AskError, NoPermissionError

from .errors import dead_transport_as_lost
from .subscriptions import batches

__all__ = ["PONG_SECONDS", "TIMEOUT_SECONDS", "Link"]

logger = logging.getLogger("bazis_ws_channels.layers")

#: Seconds without a word from Redis before it is pinged, and then for its answer.
_PING_SECONDS = 15.0
PONG_SECONDS = 3.0
#: Seconds to wait for a connection, for a write, and for a subscription to be confirmed.
TIMEOUT_SECONDS = 3.0


class Link:
    """Writes commands together, reads what comes, and notices when nothing can come any more.

    Args:
        raw: redis-py's connection, not yet connected.
        asked: called with each channel that a SUBSCRIBE is sent for.
    """

    def __init__(self, raw: Any, asked: Callable[[str], None]) -> None:
        self._is_being_read = True  # or about to be
        self._heard_at = 0.0
        self._raw = raw
        self._asked = asked
        self._commands: list[tuple[str, str]] = []
        self._writes: set[asyncio.Future[None]] = set()
        self._unanswered_patterns = 0
        self._is_pinged = False
        self._is_closed = False
        self._is_asking = False

    async def connect(self) -> None:
        """Connect.

        Raises:
            redis.RedisError, OSError: Redis is out of reach.
        """
        await self._raw.connect()

    async def disconnect(self) -> None:
        """Disconnect at once."""
        self.close()
        await self._raw.disconnect(nowait=True)

    def close(self) -> None:
        """Write nothing any more."""
        self._is_closed = True
        for write in tuple(self._writes):
            write.cancel()

    @property
    def heard_at(self) -> float:
        """The loop's time when Redis said something last. While nobody reads, as where this process
        is behind, no silence can be heard: it is now.
        """
        return self._heard_at if self._is_being_read else asyncio.get_running_loop().time()

    # --- writing ----------------------------------------------------------------------------

    def command(self, verb: str, channel: str) -> None:
        """Send a command at the end of this turn of the loop, together with the others."""
        if not self._commands:
            asyncio.get_running_loop().call_soon(self._write_commands)
        self._commands.append((verb, channel))

    def _write_commands(self) -> None:
        commands, self._commands = self._commands, []
        if self._is_closed:
            return
        for verb, channel in commands:
            if verb in ("SUBSCRIBE", "SSUBSCRIBE"):
                self._asked(channel)
            elif verb == "PSUBSCRIBE":
                self._unanswered_patterns += 1
        # A failure here ends the connection, which `read` notices.
        write = asyncio.ensure_future(self._send(self._raw.pack_commands(batches(commands))))
        self._writes.add(write)
        write.add_done_callback(self._written)

    async def _send(self, packed: list[bytes]) -> None:
        """Write, unless the connection is lost: redis-py would make another one, on which there are
        no subscriptions, and `read` would go on with that as if nothing had happened.
        """
        if self._raw.is_connected:
            await self._raw.send_packed_command(packed, check_health=False)

    def _written(self, write: asyncio.Future[None]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()

    def ask(self, silent: Callable[[], None]) -> None:
        """Ping now; call `silent` if nothing is heard within some seconds."""
        if not self._is_asking:
            self._is_asking = True
            self.command("PING", "")
            loop = asyncio.get_running_loop()
            loop.call_later(PONG_SECONDS, self._answered, loop.time(), silent)

    def _answered(self, asked_at: float, silent: Callable[[], None]) -> None:
        self._is_asking = False
        if self.heard_at < asked_at:
            silent()

    # --- reading ----------------------------------------------------------------------------

    async def read(self) -> list[Any]:
        """Return what Redis says next: ``[b"moved", error]`` if a node of a Cluster has the slot of
        a channel no more.

        Raises:
            redis.RedisError, OSError: the connection is gone, or silent for too long.
        """
        self._heard_at, self._is_being_read = self.heard_at, True
        while True:
            reply = await self._read(PONG_SECONDS if self._is_pinged else _PING_SECONDS)
            if reply is not None:
                self._is_pinged = self._is_being_read = False
                if reply[0] == b"psubscribe":
                    self._unanswered_patterns -= 1
                return reply
            if self._is_pinged:
                raise TimeoutError("Redis doesn't answer on the subscriptions' connection.")
            # Also where redis-py takes an ETIMEDOUT for "nothing came": writing fails.
            self._is_pinged = True
            async with asyncio.timeout(TIMEOUT_SECONDS):
                with dead_transport_as_lost():
                    await self._send(self._raw.pack_command("PING"))

    async def _read(self, limit_seconds: float) -> list[Any] | None:
        """Return what Redis says next; None if it says nothing for a while."""
        try:
            reply: list[Any] | None = await self._raw.read_response(
                timeout=limit_seconds, disconnect_on_error=False, push_request=True
            )
        except AskError as error:
            return [b"moved", error]
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
        return reply
