"""What a channel layer that records offers to sessions and publishers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import Event
from .positions import Entry, Position, Tail

__all__ = ["Streams"]


class Streams(Protocol):
    """Streams of groups, as the attribute ``streams`` of a channel layer.

    Whatever asks Redis raises ``redis.RedisError`` or ``OSError`` from sync code, and
    `ChannelLayerUnavailable` from async code, where it is out of reach.
    """

    @property
    def is_on(self) -> bool:
        """Whether messages are recorded, as the settings say."""

    async def open(self, groups: Sequence[str], since: Sequence[Position | None]) -> Sequence[Tail]:
        """Return the ends of groups' streams, with what is missing since these positions. From
        now on what comes on them is whole, or an event ``ws.missed`` says that it is not.

        Join the groups before. Whoever calls this must call `close` too.
        """

    def close(self, groups: Sequence[str]) -> None:
        """Follow groups' streams for one session less."""

    def decode(self, entry: Entry) -> Event:
        """Return the event of a recorded message, with its ``position``."""

    async def tops(self, groups: Sequence[str]) -> Sequence[Position]:
        """Return the positions of groups' streams now; they begin here if they were not."""

    def tops_blocking(self, groups: Sequence[str], limit_seconds: float) -> Sequence[Position]:
        """Sync twin of `tops`."""

    async def result(self, once: str) -> int | None:
        """Return what the call with an idempotency key (its digest) returned, if there was one."""

    def result_blocking(self, once: str, limit_seconds: float) -> int | None:
        """Sync twin of `result`."""

    async def keep_result(self, once: str, result: int) -> None:
        """Keep what the call with an idempotency key returned."""

    def keep_result_blocking(self, once: str, result: int, limit_seconds: float) -> None:
        """Sync twin of `keep_result`."""
