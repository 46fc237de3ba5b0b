"""Streams in Redis, each on the shard of its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from redis.exceptions import RedisError

from ..exceptions import ChannelLayerUnavailable
from ..redis.blocking import exchange
from ..redis.commands import Command
from ..redis.connection import connection_to
from ..redis.errors import explain
from ..redis.hosts import Host
from ..types import Event
from .commands import ONCE_SECONDS, limits, read, result_key, tail_of
from .healer import Healer
from .positions import Entry, Position, Tail
from .reader import Reader

__all__ = ["Channels", "RedisStreams"]


class Channels(Protocol):
    """What a channel layer knows of its Redis channels."""

    def group_name(self, group: str) -> str:
        """Return a group's Redis channel."""

    def host_of(self, name: str) -> Host:
        """Return the shard of a Redis channel."""

    def decode(self, data: bytes) -> Event:
        """Return the event in what Redis has."""


class RedisStreams:
    """Streams in Redis: see `Streams`.

    Args:
        layer: the channel layer.
        healer: returns that of the running event loop.
    """

    def __init__(self, layer: Channels, healer: Callable[[], Healer]) -> None:
        self._layer = layer
        self._healer = healer

    @property
    def is_on(self) -> bool:
        """Whether messages are recorded, as the settings say."""
        return limits() is not None

    async def open(self, groups: Sequence[str], since: Sequence[Position | None]) -> Sequence[Tail]:
        """Return the ends of groups' streams, and follow them."""
        channels = self._channels(groups)
        healer = self._healer()
        healer.follow(channels)
        return await healer.open(channels, since)

    def close(self, groups: Sequence[str]) -> None:
        """Follow groups' streams for one session less."""
        self._healer().unfollow(self._channels(groups))

    def decode(self, entry: Entry) -> Event:
        """Return the event of a recorded message, with its ``position``."""
        return self._layer.decode(entry.data)

    async def tops(self, groups: Sequence[str]) -> Sequence[Position]:
        """Return the positions of groups' streams now; they begin here if they were not."""
        channels = self._channels(groups)
        tails = await Reader(self._layer.host_of).read(channels, [None] * len(channels))
        return [tail.top for tail in tails]

    def tops_blocking(self, groups: Sequence[str], limit_seconds: float) -> Sequence[Position]:
        """Sync twin of `tops`."""
        channels = self._channels(groups)
        commands: dict[Host, list[Command]] = {}
        for channel in channels:
            commands.setdefault(self._layer.host_of(channel), []).extend(read([(channel, None)]))
        replies = exchange(commands, limit_seconds)
        answers = {host: iter(_checked(reply)) for host, reply in replies.items()}
        return [tail_of(next(answers[self._layer.host_of(each)])).top for each in channels]

    async def result(self, once: str) -> int | None:
        """Return what the call with an idempotency key returned."""
        return _number(await self._ask(once, _get(once)))

    def result_blocking(self, once: str, limit_seconds: float) -> int | None:
        """Sync twin of `result`."""
        return _number(self._ask_blocking(once, _get(once), limit_seconds))

    async def keep_result(self, once: str, result: int) -> None:
        """Keep what the call with an idempotency key returned."""
        await self._ask(once, _set(once, result))

    def keep_result_blocking(self, once: str, result: int, limit_seconds: float) -> None:
        """Sync twin of `keep_result`."""
        self._ask_blocking(once, _set(once, result), limit_seconds)

    def _channels(self, groups: Sequence[str]) -> list[str]:
        return [self._layer.group_name(group) for group in groups]

    async def _ask(self, once: str, command: Command) -> Any:
        try:
            return await connection_to(self._layer.host_of(result_key(once))).call(command)
        except (RedisError, OSError) as error:
            raise ChannelLayerUnavailable(explain(error)) from error

    def _ask_blocking(self, once: str, command: Command, limit_seconds: float) -> Any:
        host = self._layer.host_of(result_key(once))
        [reply] = _checked(exchange({host: [command]}, limit_seconds)[host])
        return reply


def _get(once: str) -> Command:
    return Command(("GET", result_key(once)), is_repeatable=True)


def _set(once: str, result: int) -> Command:
    return Command(("SET", result_key(once), result, "EX", ONCE_SECONDS), is_repeatable=True)


def _number(reply: Any) -> int | None:
    return None if reply is None else int(reply)


def _checked(answer: list[Any] | Exception) -> list[Any]:
    """Return the replies of a host, if none of them is an error."""
    for reply in [answer] if isinstance(answer, Exception) else answer:
        if isinstance(reply, Exception):
            raise reply
    assert isinstance(answer, list)  # noqa: S101 - else it was raised
    return answer
