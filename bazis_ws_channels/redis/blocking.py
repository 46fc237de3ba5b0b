"""Redis for sync code: a round trip over blocking connections, without an event loop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .cluster import exchange_blocking, primaries_blocking
from .commands import REPEATS, Command, to_repeat, was_demoted
from .hosts import Host
from .pool import SHORTEST_SECONDS, pool_of

__all__ = ["exchange", "servers_of"]

Commands = Mapping[Host, Sequence[Command]]


def exchange(commands: Commands, limit_seconds: float) -> dict[Host, list[Any] | Exception]:
    """Write commands to their hosts, then read the replies: one wait, however many hosts.

    Args:
        limit_seconds: for all of it; a single host may have a shorter limit of its own.

    Returns:
        By host: the replies, among them error *replies*; or the RedisError or OSError of a host
        that is out of reach. Commands that aren't repeatable may then have been done or not. A
        Cluster's replies have the errors of its nodes among them.
    """
    for host in commands:
        if host.is_cluster:
            return exchange_blocking(commands, limit_seconds, _exchange)
    return _exchange(commands, limit_seconds)


def servers_of(host: Host) -> list[Host]:
    """Return the servers with the data of a host: itself, or the primaries of a Cluster.

    Raises:
        redis.RedisError, OSError: no node of the Cluster tells them.
    """
    return primaries_blocking(host, _exchange) if host.is_cluster else [host]


def _exchange(commands: Commands, limit_seconds: float) -> dict[Host, list[Any] | Exception]:
    deadline = time.monotonic() + limit_seconds
    replies, failed = _round_trip(commands, deadline)
    for number in range(REPEATS):
        if not failed:
            break
        again = {
            host: repeated
            for host in failed
            if (repeated := _again(commands[host], replies[host], may_be_lost=number == 0))
        }
        for host in again:
            answer = replies[host]
            if isinstance(answer, Exception) or any(map(was_demoted, answer)):
                pool_of(host).disconnect()
        rest = {host: list(each.values()) for host, each in again.items()}
        second, failed = _round_trip(rest, deadline)
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


def _round_trip(
    commands: Commands, deadline: float
) -> tuple[dict[Host, list[Any] | Exception], list[Host]]:
    """Return the answers of the hosts, and the hosts with an error in theirs."""
    rounds: list[_Round] = []
    for host, own in commands.items():
        rounds.append(_Round(host, own, deadline))
    replies: dict[Host, list[Any] | Exception] = {}
    failed: list[Host] = []
    for each in rounds:
        replies[each.host] = each.answer()
        if each.has_failed:
            failed.append(each.host)
    return replies, failed


class _Round:
    """Commands that are written to one host, and its answer.

    Attributes:
        has_failed: whether there is an error in the answer.
    """

    __slots__ = ("_commands", "_deadline", "_error", "_link", "_pool", "has_failed", "host")

    def __init__(self, host: Host, commands: Sequence[Command], deadline: float) -> None:
        self.host = host
        self.has_failed = False
        self._commands = commands
        self._pool = pool = pool_of(host)
        self._deadline = min(deadline, time.monotonic() + pool.timeout_seconds)
        self._error: Exception | None = None
        try:
            self._link = pool.take(deadline)
            packed = b"".join([pack_command(command.parts) for command in commands])
            self._link.connection.send_packed_command([packed], check_health=False)
        except (RedisError, OSError) as error:
            self._error, self.has_failed = error, True

    def answer(self) -> list[Any] | Exception:
        """Return the replies, among them error replies; or why the host is out of reach."""
        if self._error is not None:
            return self._error
        replies: list[Any] = []
        try:
            for _ in self._commands:
                replies.append(self._reply())
        except (RedisError, OSError) as error:
            self._link.connection.disconnect()
            self.has_failed = True
            return error
        self._pool.give_back(self._link)
        return replies

    def _reply(self) -> Any:
        left, connection = self._deadline - time.monotonic(), self._link.connection
        # What is there counts: another host may have taken all the time.
        if left <= 0 and not connection.can_read():
            raise RedisTimeoutError("Redis did not answer in time.")
        try:
            return connection.read_response(
                timeout=max(left, SHORTEST_SECONDS), disconnect_on_error=False
            )
        except redis.ResponseError as error:
            self.has_failed = True
            return error
