"""Reading the ends of streams, wherever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from ..exceptions import ChannelLayerUnavailable
from ..redis.commands import Command
from ..redis.connection import connection_to
from ..redis.errors import explain
from ..redis.hosts import Host
from .commands import read, tail_of
from .positions import Position, Tail

__all__ = ["Reader"]

#: Streams that are read together; each round has a time limit of its own.
_ROUND = 500


class Reader:
    """Asks the Redis servers of streams.

    Args:
        host_of: returns the Redis server of a channel.
    """

    def __init__(self, host_of: Callable[[str], Host]) -> None:
        self._host_of = host_of

    async def read(
        self, channels: Sequence[str], since: Sequence[Position | None]
    ) -> Sequence[Tail]:
        """Return the ends of streams, in one round trip to each server.

        Raises:
            ChannelLayerUnavailable: Redis is out of reach.
        """
        tails: list[Tail] = []
        for answer in await self.answers(channels, since):
            if not isinstance(answer, Tail):
                raise ChannelLayerUnavailable(explain(answer)) from answer
            tails.append(answer)
        return tails

    async def answers(
        self, channels: Sequence[str], since: Sequence[Position | None]
    ) -> list[Tail | RedisError | OSError]:
        """Return the ends of streams, or why one can't be read: the servers are asked at the
        same time, in rounds.
        """
        shards: dict[Host, list[int]] = {}
        for number, channel in enumerate(channels):
            shards.setdefault(self._host_of(channel), []).append(number)
        answers: dict[int, Tail | RedisError | OSError] = {}

        async def ask(host: Host, numbers: Sequence[int]) -> None:
            for start in range(0, len(numbers), _ROUND):
                each = numbers[start : start + _ROUND]
                commands = read((channels[number], since[number]) for number in each)
                answers.update(zip(each, await _replies(host, commands), strict=True))

        asking = [ask(host, numbers) for host, numbers in shards.items()]
        if len(asking) == 1:
            await asking[0]  # without a task
        else:
            await asyncio.gather(*asking)
        return [answers[number] for number in range(len(channels))]


async def _replies(host: Host, commands: Sequence[Command]) -> list[Tail | RedisError | OSError]:
    try:
        replies = await connection_to(host).exchange(commands)
    except (RedisError, OSError) as error:
        return [error] * len(commands)
    return [_answer(reply) for reply in replies]


def _answer(reply: Any) -> Tail | RedisError | OSError:
    return reply if isinstance(reply, RedisError | OSError) else tail_of(reply)
