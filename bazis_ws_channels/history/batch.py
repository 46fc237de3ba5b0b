"""Group messages that are sent together: what each host is asked, what its replies mean. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..redis.commands import Command
from ..redis.hosts import Host

__all__ = ["Batch"]


class Batch:
    """Commands of messages that are sent together, perhaps after another command.

    Args:
        before: a command that is done first, and its host.

    Attributes:
        commands: of each host, in order.
    """

    def __init__(self, before: tuple[Host, Command] | None = None) -> None:
        self.commands: dict[Host, list[Command]] = {}
        self._first = None if before is None else before[0]
        if before is not None:
            self.add(*before)

    def add(self, host: Host, command: Command) -> None:
        """Add the command of a message."""
        self.commands.setdefault(host, []).append(command)

    def reply(self, replies: Mapping[Host, list[Any] | Exception]) -> Any:
        """Return the reply to `before`, which may be an error; None without it.

        Raises:
            redis.RedisError, OSError: a message was refused, or its host is out of reach.
        """
        first = None
        for host, answer in replies.items():
            own = [answer] * len(self.commands[host]) if isinstance(answer, Exception) else answer
            if host is self._first:
                first, *own = own
            for reply in own:
                if isinstance(reply, Exception):
                    raise reply
        return first
