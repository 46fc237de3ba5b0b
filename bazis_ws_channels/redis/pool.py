"""Connections for sync code, each borrowed for one round trip."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from .commands import is_replica
from .connection import IDLE_SECONDS
from .hosts import Host

__all__ = ["SHORTEST_SECONDS", "Pool", "pool_of"]

#: Time for an answer where another host has taken it all.
SHORTEST_SECONDS = 0.01
#: No limit in practice: each thread that publishes has one connection.
_NO_LIMIT = 2**31


class Pool:
    """Connections of one process to a host, for sync code.

    There is no lock, which a fork in the middle of a call would leave held for ever: a list's
    `append` and `pop` are one step to threads and greenlets. A connection is given back after its
    last reply was read, and only then: a call that is interrupted costs one connection, no more.

    Args:
        factory: a pool of redis-py's, of which only `make_connection` is used: its own lending
            costs more than a command.
        timeout_seconds: how long to wait for an answer of the host.
    """

    def __init__(self, factory: redis.ConnectionPool, timeout_seconds: float) -> None:
        self.factory = factory
        self.timeout_seconds = timeout_seconds
        self._idle: list[_Link] = []
        self._address: tuple[Any, Any] | None = None

    def take(self, deadline: float) -> _Link:
        """Return a connection for the caller alone, who is to give it back.

        Args:
            deadline: for the check of an idle connection, by `time.monotonic`; half of the time for
                an answer at most. A new connection has limits of its own.

        Raises:
            redis.RedisError, OSError: the server takes no connection.
        """
        try:
            link = self._idle.pop()
        except IndexError:
            return self._make()
        if link.is_usable(deadline, self.timeout_seconds / 2):
            return link
        link.connection.disconnect()
        self.disconnect()  # the others are as old, and lead to the same server
        return self._make()

    def give_back(self, link: _Link) -> None:
        """Take back a connection all of whose replies were read."""
        if link.siblings is self._idle:
            link.siblings.append(link)
        else:
            link.connection.disconnect()

    def disconnect(self) -> None:
        """Close the idle connections now, and the borrowed ones when they come back: the host's
        name may mean another server by now.
        """
        idle, self._idle = self._idle, []
        for link in idle:
            link.connection.disconnect()

    def _make(self) -> _Link:
        connection = self.factory.make_connection()
        connection.connect()
        address = getattr(connection, "host", None), getattr(connection, "port", None)
        if address != self._address and self._address is not None:
            self.disconnect()  # Sentinel names another primary
        self._address = address
        return _Link(connection, self._idle)


class _Link:
    """One connection of a pool.

    Attributes:
        connection: redis-py's.
        siblings: the pool's list of idle connections when this one was made. The pool has another
            list once it was disconnected.
    """

    __slots__ = ("_checked_at", "connection", "siblings")

    def __init__(self, connection: Any, siblings: list[_Link]) -> None:
        self.connection = connection
        self.siblings = siblings
        self._checked_at = time.monotonic()

    def is_usable(self, deadline: float, limit_seconds: float) -> bool:
        """Tell whether the connection is open and, every `IDLE_SECONDS`, whether its server is
        still a primary.

        Args:
            deadline, limit_seconds: for the answer, whichever comes first.
        """
        try:
            if self.connection.can_read():
                return False  # nothing was asked: it is the end of the connection, as a rule
            now = time.monotonic()
            if now - self._checked_at <= IDLE_SECONDS:
                return True
            self._checked_at = now
            self.connection.send_command("ROLE", check_health=False)
            limit_seconds = max(SHORTEST_SECONDS, min(limit_seconds, deadline - now))
            role = self.connection.read_response(timeout=limit_seconds, disconnect_on_error=False)
        except ResponseError:
            return True  # the user may not ask
        except (RedisError, OSError):
            return False
        return not is_replica(role)


def pool_of(host: Host) -> Pool:
    """Return this process's connections to a host."""
    # The key has the process's id, because Python isn't told of a fork in C.
    return _pool(host, host.timeout_seconds, os.getpid())


@lru_cache(maxsize=512)  # a Cluster has many nodes
def _pool(host: Host, timeout_seconds: float, pid: int) -> Pool:
    # Half of the time for the TCP connection, half for each answer of the handshake. The limit of
    # a reply is given with each read.
    options = host.connection_options(Retry(NoBackoff(), 0), timeout=timeout_seconds / 2)
    options["socket_connect_timeout"] = timeout_seconds / 2
    options["max_connections"] = _NO_LIMIT
    return Pool(_factory(options), timeout_seconds)


def _factory(options: dict[str, Any]) -> redis.ConnectionPool:
    if "address" in options:
        return redis.ConnectionPool.from_url(options.pop("address"), **options)
    if "master_name" in options:
        sentinels, arguments = options.pop("sentinels"), options.pop("sentinel_kwargs")
        sentinel = redis.Sentinel(sentinels, sentinel_kwargs=arguments)
        return redis.SentinelConnectionPool(options.pop("master_name"), sentinel, **options)
    return redis.ConnectionPool(**options)
