"""Interface of the connections of an event loop, to one server or to a Cluster. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from .commands import Command

__all__ = ["Calls"]


class Calls(ABC):
    """Commands and their replies, over connections that are opened when they are needed."""

    @property
    @abstractmethod
    def openings(self) -> int:
        """How often connections were opened. Over a new one another server may answer, or one that
        has gone back to what it once held.
        """

    @abstractmethod
    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands that are written together. Error *replies* are returned,
        not raised.
        """

    @abstractmethod
    async def rest(self) -> None:
        """Close what is open unless a call is under way; the next call opens it again."""

    async def call(self, command: Command) -> Any:
        """Return Redis's reply to a command.

        Raises:
            redis.RedisError, OSError: Redis refuses it, or is out of reach.
        """
        [reply] = await self.exchange([command])
        if isinstance(reply, Exception):
            raise reply
        return reply
