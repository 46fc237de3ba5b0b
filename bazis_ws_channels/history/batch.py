"""Group messages that are sent together: what each host is asked, what its replies mean. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..redis.commands import Command
from ..redis.hosts import Host
from .commands import Message, publish

__all__ = ["Batch"]


class Batch:
    """Messages that are sent together, perhaps after another command.

    Args:
        messages: by the host that publishes them.
        before: a host, and a command that it does before its messages.
    """

    def __init__(
        self,
        messages: Mapping[Host, Sequence[Message]],
        before: tuple[Host, Command] | None = None,
    ) -> None:
        self._messages = messages
        self._before = before

    def commands(self) -> dict[Host, list[Command]]:
        """Return the commands of each host, in order."""
        commands: dict[Host, list[Command]] = {}
        if self._before is not None:
            host, command = self._before
            commands[host] = [command]
        for host, messages in self._messages.items():
            commands[host] = [*commands.get(host, ()), *publish(host, messages)]
        return commands

    def reply(self, replies: Mapping[Host, list[Any] | Exception]) -> Any:
        """Return the reply to `before`, which may be an error; None without it.

        Raises:
            redis.RedisError, OSError: a message was refused, or its host is out of reach.
        """
        first = None
        for host, answer in replies.items():
            if isinstance(answer, Exception):
                if host in self._messages:
                    raise answer
                first = answer
                continue
            if self._before is not None and host == self._before[0]:
                first, *answer = answer
            for reply in answer:
                if isinstance(reply, Exception):
                    raise reply
        return first
