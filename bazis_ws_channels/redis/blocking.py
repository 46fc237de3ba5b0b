"""Redis for sync code: a round trip over pooled blocking connections, without an event loop."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import redis
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .commands import REPEATS, Command, is_replica, to_repeat, was_demoted
from .connection import IDLE_SECONDS
from .hosts import Host

__all__ = ["exchange"]

Commands = Mapping[Host, Sequence[Command]]

#: When each connection was looked at last.
_checked_at: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()


def exchange(commands: Commands, limit_seconds: float) -> dict[Host, list[Any] | Exception]:
    """Write commands to their hosts, then read the replies: one wait, however many hosts.

    Args:
        limit_seconds: for all of it; a single host may have a shorter limit of its own.

    Returns:
        By host: the replies, among them error *replies*; or the RedisError or OSError of a host
        that is out of reach. Commands that aren't repeatable may then have been done or not.
    """
    deadline = time.monotonic() + limit_seconds
    replies = _round_trip(commands, deadline)
    for number in range(REPEATS):
        again = {
            host: repeated
            for host, own in commands.items()
            if (repeated := _again(own, replies[host], may_be_lost=number == 0))
        }
        if not again:
            break
        for host in again:
            answer = replies[host]
            if isinstance(answer, Exception) or any(map(was_demoted, answer)):
                host.blocking_pool.disconnect(inuse_connections=False)
        second = _round_trip({host: list(each.values()) for host, each in again.items()}, deadline)
        for host, each in again.items():
            replies[host] = _merged(replies[host], each, second[host])
    return replies


def _again(
    commands: Sequence[Command], answer: list[Any] | Exception, *, may_be_lost: bool
) -> dict[int, Command]:
    """Return the commands to send again to a host, by position: those it refused without doing
    them, or all if the connection broke and all are repeatable.
    """
    if not isinstance(answer, Exception):
        return to_repeat(commands, answer)
    is_lost = isinstance(answer, RedisConnectionError | OSError)
    if not is_lost or isinstance(answer, TimeoutError) or not may_be_lost:
        return {}
    return dict(enumerate(commands)) if all(c.is_repeatable for c in commands) else {}


def _merged(
    first: list[Any] | Exception, again: Mapping[int, Command], second: list[Any] | Exception
) -> list[Any] | Exception:
    if isinstance(first, Exception) or isinstance(second, Exception):
        return second
    for number, reply in zip(again, second, strict=True):
        first[number] = reply
    return first


def _round_trip(commands: Commands, deadline: float) -> dict[Host, list[Any] | Exception]:
    replies: dict[Host, list[Any] | Exception] = {}
    with ExitStack() as stack:
        links: dict[Host, _Link] = {}
        for host in commands:
            try:
                links[host] = stack.enter_context(_Link(host, deadline))
                links[host].write(commands[host])
            except (RedisError, OSError) as error:
                replies[host] = error
        for host, link in links.items():
            if host not in replies:
                replies[host] = link.read_all(len(commands[host]))
    return replies


class _Link:
    """A pooled connection, borrowed for one round trip."""

    def __init__(self, host: Host, deadline: float) -> None:
        self._host = host
        self._pool = host.blocking_pool
        self._deadline = min(deadline, time.monotonic() + host.timeout_seconds)
        self._is_broken = False
        self._connection: Any = None

    def __enter__(self) -> _Link:
        connection = self._pool.get_connection()
        try:
            now = time.monotonic()
            if now - _checked_at.setdefault(connection, now) > IDLE_SECONDS:
                self._check(connection)
                _checked_at[connection] = now
        except BaseException:
            self._pool.release(connection)
            raise
        self._connection = connection
        return self

    def __exit__(self, error_type: type[BaseException] | None, *exc: object) -> None:
        if error_type is not None or self._is_broken:
            self._connection.disconnect()  # replies may be on their way
        self._pool.release(self._connection)

    def write(self, commands: Sequence[Command]) -> None:
        """Write commands, without reading."""
        packed = b"".join(pack_command(command.parts) for command in commands)
        self._is_broken = True
        self._connection.send_packed_command([packed], check_health=False)

    def read_all(self, count: int) -> list[Any] | Exception:
        """Read `count` replies. Error replies are returned, not raised."""
        try:
            replies = [self._read_reply() for _ in range(count)]
        except (RedisError, OSError) as error:
            return error
        self._is_broken = False
        return replies

    def _read_reply(self) -> Any:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise RedisTimeoutError("Redis did not answer in time.")
        try:
            return self._connection.read_response(timeout=left, disconnect_on_error=False)
        except redis.ResponseError as error:
            return error

    def _check(self, connection: Any) -> None:
        """Make a connection anew if it is dead, or if the server is no primary any more."""
        limit = min(self._host.timeout_seconds / 2, self._deadline - time.monotonic())
        try:
            connection.send_command("ROLE", check_health=False)
            role = connection.read_response(timeout=limit, disconnect_on_error=False)
        except redis.ResponseError:
            return  # the user may not ask
        except (RedisError, OSError):
            role = None
        if role is None or is_replica(role):
            # The others are as old, and point at the same server.
            self._host.blocking_pool.disconnect(inuse_connections=False)
            connection.disconnect()
            connection.connect()
