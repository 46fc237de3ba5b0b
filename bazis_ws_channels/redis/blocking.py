"""Redis for sync code: a round trip over pooled blocking connections, without an event loop."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .commands import Command, repeated, was_demoted
from .connection import IDLE_SECONDS
from .hosts import Host

__all__ = ["exchange"]

Commands = Mapping[Host, Sequence[Command]]

#: When each idle connection was used last.
_used_at: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()


def exchange(commands: Commands, limit_seconds: float) -> dict[Host, list[Any]]:
    """Write commands to their hosts, then read the replies: one wait, however many hosts.

    Args:
        limit_seconds: for all of it.

    Returns:
        The replies by host; an error *reply* is one of them.

    Raises:
        redis.RedisError, OSError: a host is out of reach. Nobody knows what was done of the
            commands that are not repeatable.
    """
    deadline = time.monotonic() + limit_seconds
    try:
        replies = _round_trip(commands, deadline)
    except (RedisConnectionError, OSError) as error:
        every = [command for each in commands.values() for command in each]
        if isinstance(error, TimeoutError) or not all(c.is_repeatable for c in every):
            raise
        replies = _round_trip(commands, deadline)
    for host, again in _second_tries(commands, replies).items():
        if any(was_demoted(reply) for reply in replies[host]):
            host.blocking_pool.disconnect(inuse_connections=False)
        answers = _round_trip({host: list(again.values())}, deadline)[host]
        for number, reply in zip(again, answers, strict=True):
            replies[host][number] = reply
    return replies


def _second_tries(
    commands: Commands, replies: Mapping[Host, Sequence[Any]]
) -> dict[Host, dict[int, Command]]:
    again: dict[Host, dict[int, Command]] = {}
    for host, asked in commands.items():
        for number, (command, reply) in enumerate(zip(asked, replies[host], strict=True)):
            if isinstance(reply, Exception) and (once_more := repeated(command, reply)):
                again.setdefault(host, {})[number] = once_more
    return again


def _round_trip(commands: Commands, deadline: float) -> dict[Host, list[Any]]:
    with ExitStack() as stack:
        links = {host: stack.enter_context(_Link(host, deadline)) for host in commands}
        for host, link in links.items():
            link.write(commands[host])
        return {host: link.read(len(commands[host])) for host, link in links.items()}


class _Link:
    """A pooled connection, borrowed for one round trip."""

    def __init__(self, host: Host, deadline: float) -> None:
        self._host = host
        self._deadline = deadline
        self._connection: Any = None

    def __enter__(self) -> _Link:
        pool = self._host.blocking_pool
        connection = pool.get_connection()
        try:
            if time.monotonic() - _used_at.get(connection, time.monotonic()) > IDLE_SECONDS:
                self._check(connection)
        except BaseException:
            pool.release(connection)
            raise
        self._connection = connection
        return self

    def __exit__(self, error_type: type[BaseException] | None, *exc: object) -> None:
        if error_type is not None:
            self._connection.disconnect()  # replies may be on their way
        _used_at[self._connection] = time.monotonic()
        self._host.blocking_pool.release(self._connection)

    def write(self, commands: Sequence[Command]) -> None:
        """Write commands, without reading."""
        packed = self._connection.pack_commands([command.parts for command in commands])
        self._connection.send_packed_command(packed, check_health=False)

    def read(self, count: int) -> list[Any]:
        """Read so many replies; an error reply is one of them."""
        return [self._read_reply() for _ in range(count)]

    def _read_reply(self) -> Any:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise RedisTimeoutError("Redis did not answer in time.")
        try:
            return self._connection.read_response(timeout=left, disconnect_on_error=False)
        except redis.ResponseError as error:
            return error

    def _check(self, connection: Any) -> None:
        """Ping a connection that was idle, and make it anew if it is dead."""
        limit = min(self._host.timeout_seconds / 2, self._deadline - time.monotonic())
        try:
            connection.send_command("PING", check_health=False)
            connection.read_response(timeout=limit)
        except (RedisError, OSError):
            connection.disconnect()
            connection.connect()
