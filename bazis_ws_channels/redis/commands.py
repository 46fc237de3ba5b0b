"""Commands as values, and which of them to send again. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, ReadOnlyError

__all__ = ["REPEATS", "Command", "Script", "is_replica", "repeated", "to_repeat", "was_demoted"]

#: How often a refused command is sent again. A server that has just become a replica has forgotten
#: the scripts, then it refuses to write, and the new primary doesn't know them either.
REPEATS = 3

_SCRIPTS = ("EVALSHA", "EVAL")


class Command(NamedTuple):
    """One Redis command.

    Attributes:
        parts: its name and arguments.
        is_repeatable: whether it may be sent again if its reply was lost, because doing it twice
            has the same effect as doing it once.
        script: the script that an ``EVALSHA`` runs.
    """

    parts: tuple[Any, ...]
    is_repeatable: bool = False
    script: Script | None = None

    @property
    def key(self) -> str | None:
        """The first key or channel, in whose slot of a Cluster all others are; None without any."""
        verb, *rest = self.parts
        if verb in _SCRIPTS:
            return rest[2] if rest[1] else None
        if verb == "SCAN":
            return rest[2]  # the pattern, which begins with a hash tag
        return rest[0] if rest else None

    @property
    def unabridged(self) -> Command:
        """The same with its script's text, for a server that doesn't know it."""
        if self.script is None:
            return self
        _, _, *arguments = self.parts
        return Command(("EVAL", self.script.text, *arguments), self.is_repeatable)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name under which Redis caches it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)

    def command(
        self, keys: Sequence[str], args: Sequence[Any], *, is_repeatable: bool = False
    ) -> Command:
        """Return the command that runs the script with these KEYS and ARGV."""
        return Command(("EVALSHA", self.sha, len(keys), *keys, *args), is_repeatable, self)


def to_repeat(commands: Sequence[Command], replies: Sequence[Any]) -> dict[int, Command]:
    """Return what to send again after these replies, by place."""
    failed = [number for number, reply in enumerate(replies) if isinstance(reply, Exception)]
    tries = ((number, repeated(commands[number], replies[number])) for number in failed)
    return {number: command for number, command in tries if command is not None}


def repeated(command: Command, reply: Any) -> Command | None:
    """Return what to send again after this error reply: nothing was done by `command`. None: the
    reply stands.
    """
    if isinstance(reply, NoScriptError) and command.script is not None:
        return command.unabridged
    return command if was_demoted(reply) else None


def was_demoted(reply: Any) -> bool:
    """Tell whether the reply says that the server is now a replica."""
    return isinstance(reply, ReadOnlyError)


def is_replica(role: Any) -> bool:
    """Tell from the reply to ROLE whether the server is a replica; no, where it doesn't tell."""
    return isinstance(role, list) and role[:1] == [b"slave"]
