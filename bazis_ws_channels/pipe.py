"""One Redis connection over which calls that are made at the same time share a round trip.

redis-py's client takes a connection from a pool, tries again, measures and times each read and
each write: twice the time of the command itself. Here one task at a time writes whatever has come
together and reads the replies, under one time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["Pipe"]

Command = tuple[Any, ...]


class Pipe:
    """A connection of one event loop, made at the first call and again when it was lost.

    Args:
        host: one entry of channels-redis's ``hosts``, decoded to a dict.
        timeout_seconds: for connecting and for each round trip, where the host has no
            ``socket_timeout`` of its own.
    """

    def __init__(self, host: dict[str, Any], timeout_seconds: float, **options: Any) -> None:
        self._pool = create_pool(
            {
                "socket_connect_timeout": timeout_seconds,
                "retry": Retry(NoBackoff(), 0),
                **host,
                **options,
                "protocol": 2,
                "socket_timeout": None,  # one limit around it all costs less
            }
        )
        self._timeout_seconds = host.get("socket_timeout") or timeout_seconds
        self._connection: Any = None
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None
        self._is_busy = False

    def make_connection(self) -> Any:
        """Return another connection to the same host, not yet connected."""
        return self._pool.make_connection()

    async def call(self, *command: Any) -> Any:
        """Return Redis's reply to a command.

        Raises:
            redis.RedisError, OSError: Redis refuses it, or is out of reach. What came meanwhile
                fails with it: nobody knows what of it was done.
        """
        if self._is_busy:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((command, future))
            return await future
        # Alone, as a rule: without a task, for each turn of the loop costs as much as the rest.
        self._is_busy = True
        try:
            [reply] = await self._exchange([command])
        finally:
            self._is_busy = bool(self._waiting)
            if self._waiting:
                self._task = asyncio.create_task(self._exchange_waiting())
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def close(self) -> None:
        """Close the connection; who waits gets an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # Those whom the task never came to, if it was cancelled before its first step.
        waiting, self._waiting, self._is_busy = self._waiting, [], False
        _settle(waiting, [RedisError("The connection was closed.")] * len(waiting))
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
        self._task = self._connection = None

    async def _exchange_waiting(self) -> None:
        """Send what came meanwhile; nobody's cancelled call ends it."""
        while self._waiting:
            # Whose call was cancelled has been told that it failed: so it must not be sent.
            batch = [entry for entry in self._waiting if not entry[1].done()]
            self._waiting = []
            if not batch:
                break
            replies: Sequence[Any]
            try:
                replies = await self._exchange([command for command, _ in batch])
            except Exception as error:
                replies = [error] * len(batch)
            except BaseException:
                self._is_busy = False
                _settle(batch, [RedisError("The connection was closed.")] * len(batch))
                raise
            _settle(batch, replies)
        self._is_busy = False

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        """Send commands; return the replies, those that are errors too."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                connection = await self._ready()
                await connection.send_packed_command(connection.pack_commands(commands))
                return [await _read_reply(connection) for _ in commands]
        except BaseException as error:
            if self._connection is not None:
                await self._connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                limit = self._timeout_seconds
                raise RedisTimeoutError(f"Redis did not answer within {limit} s.") from error
            raise

    async def _ready(self) -> Any:
        """Return the connection, made anew if Redis has closed it."""
        if self._connection is None:
            self._connection = self.make_connection()
        connection = self._connection
        if connection.is_connected and await _has_unread(connection):
            await connection.disconnect(nowait=True)
        await connection.connect()
        return connection


async def _read_reply(connection: Any) -> Any:
    """Return one reply; an error *reply* is returned too, for the others behind it."""
    try:
        return await connection.read_response()
    except RedisError as error:
        if not connection.is_connected:
            raise
        return error


async def _has_unread(connection: Any) -> bool:
    """Tell whether an idle connection has something to read: the end of it, as a rule."""
    # redis-py 8 renamed it.
    can_read = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        unread: bool = await can_read()
    except (RedisError, OSError):
        return True
    return unread


def _settle(batch: list[tuple[Command, asyncio.Future[Any]]], replies: Sequence[Any]) -> None:
    for (_, future), reply in zip(batch, replies, strict=True):
        if future.done():
            continue
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)
