"""One Redis connection for each event loop and host, shared by all callers.

Calls made at the same time share a round trip: one task writes all pending calls and reads the
replies. redis-py's client would take a connection from a pool, retry, measure and time each read
and write, at twice the cost of the command itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..counters import counts
from ..loops import LoopLocal
from .calls import Calls
from .cluster import ClusterConnection
from .commands import REPEATS, Command, is_replica, to_repeat, was_demoted
from .errors import dead_transport_as_lost
from .hosts import Host

__all__ = [
    "IDLE_SECONDS",
    "Connection",
    "connection_to",
    "connection_to_server",
    "connections_to",
    "exchange_all",
]

#: Commands in one round trip, so that the time limit covers a round, however many calls wait.
_ROUND = 500
#: A connection that was not looked at for so long is, before it is used: balancers forget idle
#: ones, and a primary may be a replica now, where PUBLISH succeeds and reaches hardly anybody.
IDLE_SECONDS = 5.0


class _Call(NamedTuple):
    """Commands of one caller, and the future of their replies."""

    commands: Sequence[Command]
    replies: asyncio.Future[list[Any]]

    @property
    def is_repeatable(self) -> bool:
        """Whether the commands may be sent again when their replies were lost."""
        return all(command.is_repeatable for command in self.commands)


class Connection(Calls):
    """A connection of one event loop. Opened at the first call, and again after a loss.

    Args:
        host: the server.
        clock: seconds, monotonic; by default the event loop's.
    """

    def __init__(self, host: Host, clock: Callable[[], float] | None = None) -> None:
        self.host = host
        #: Called when the server, once the primary, turns out to be a replica.
        self.demotion_listeners: set[Callable[[], None]] = set()
        #: Called when the server did not answer in time, or took no connection.
        self.failure_listeners: set[Callable[[], None]] = set()
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._pool = host.async_pool()
        self._link: Any = None  # redis-py's connection
        self._openings = 0
        self._checked_at = 0.0
        self._waiting: list[_Call] = []
        self._wakeup: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def openings(self) -> int:
        """How often the connection was opened."""
        return self._openings

    def make_link(self) -> Any:
        """Return another redis-py connection to the same host, not yet connected."""
        return self._pool.make_connection()

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands that are written together. Error *replies* are returned,
        not raised.

        Raises:
            redis.RedisError, OSError: Redis is out of reach. Commands that aren't repeatable may
                have been done or not.
        """
        call = _Call(commands, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        elif self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
        return await call.replies

    async def close(self) -> None:
        """Close the connection. Pending calls raise RedisError."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        _fail(self._take_all(), RedisError("The connection was closed."))
        await self._hang_up()

    async def rest(self) -> None:
        """Close the connection unless a call is under way; the next call opens it again."""
        is_waiting = self._wakeup is not None and not self._wakeup.done()
        if not self._waiting and (self._task is None or self._task.done() or is_waiting):
            await self.close()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            calls = self._take_round()
            if not calls:
                self._wakeup = loop.create_future()
                await self._wakeup
                continue
            try:
                await self._answer(calls)
            except GeneratorExit:
                raise  # the event loop was closed under it: nobody waits any more
            except BaseException:
                _fail(calls, RedisError("The connection was closed."))
                raise

    def _take_all(self) -> list[_Call]:
        calls, self._waiting = self._waiting, []
        return calls

    def _take_round(self) -> list[_Call]:
        """Return the calls of the next round. Skip cancelled calls: their callers have already
        been told they failed.
        """
        waiting = [call for call in self._take_all() if not call.replies.done()]
        size = 0
        for number, call in enumerate(waiting):
            size += len(call.commands)
            if size > _ROUND and number:
                self._waiting = waiting[number:]
                return waiting[:number]
        return waiting

    async def _answer(self, calls: list[_Call]) -> None:
        """Get replies; calls that may be made twice are, where the connection broke."""
        try:
            return await self._ask(calls)
        except (RedisConnectionError, OSError) as error:
            is_timeout = isinstance(error, TimeoutError)
            again = [] if is_timeout else [call for call in calls if call.is_repeatable]
            _fail([call for call in calls if call not in again], error)
        except Exception as error:
            return _fail(calls, error)
        try:
            await self._ask(again)
        except Exception as error:
            _fail(again, error)

    async def _ask(self, calls: Sequence[_Call]) -> None:
        """Get replies; ask again what was refused without having been done."""
        commands = [command for call in calls for command in call.commands]
        replies = await self._round_trip(commands)
        for _ in range(REPEATS):
            again = to_repeat(commands, replies)
            if not again:
                break
            if any(was_demoted(reply) for reply in replies):
                await self._demoted()
            second = await self._round_trip(list(again.values()))
            for number, reply in zip(again, second, strict=True):
                replies[number] = reply
        rest = iter(replies)
        for call in calls:
            own = [next(rest) for _ in call.commands]
            if not call.replies.done():
                call.replies.set_result(own)

    async def _round_trip(self, commands: Sequence[Command]) -> list[Any]:
        """Write commands and read their replies, error replies included."""
        if not commands:
            return []
        link = await self._ready()
        limit = self.host.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                await _write(link, commands)
                replies = [await _read_reply(link) for _ in commands]
        except GeneratorExit:
            raise
        except BaseException as error:
            await self._hang_up()
            if isinstance(error, TimeoutError):
                _call(self.failure_listeners)
                raise RedisTimeoutError(f"Redis did not answer within {limit} s.") from error
            raise
        return replies

    async def _ready(self) -> Any:
        """Return redis-py's connection: a new one if it was lost, or the server is a replica."""
        if self._link is None or not self._link.is_connected:
            return await self._connect()
        now = self._clock()
        if now - self._checked_at > IDLE_SECONDS:
            role = await _role(self._link, self.host.timeout_seconds / 2)
            self._checked_at = now
            if role is None:
                await self._hang_up()
            elif is_replica(role) and not self.host.is_node:
                await self._demoted()
        elif await _has_unread(self._link):
            await self._hang_up()
        return self._link or await self._connect()

    async def _connect(self) -> Any:
        limit = self.host.connect_seconds
        link = self.make_link()
        try:
            async with asyncio.timeout(limit):
                await link.connect()
        except BaseException as error:
            await link.disconnect(nowait=True)
            _call(self.failure_listeners)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError(f"Redis took no connection within {limit} s.") from error
            raise
        self._link = link
        counts.redis_reconnects += self._openings > 0
        self._openings += 1
        self._checked_at = self._clock()
        return link

    async def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.disconnect(nowait=True)
            await asyncio.sleep(0)  # until it is closed: the next one may get its file descriptor

    async def _demoted(self) -> None:
        """Reconnect: the name, or Sentinel, may now point to another server."""
        await self._hang_up()
        _call(self.demotion_listeners)


def connection_to(host: Host) -> Connection | ClusterConnection[Connection]:
    """Return the running event loop's connection to a host."""
    if not host.is_cluster:
        return connection_to_server(host)
    clusters = _clusters.get()
    connection = clusters.get(host)
    if connection is None:
        connection = clusters[host] = ClusterConnection(host, connection_to_server)
    return connection


def connection_to_server(host: Host) -> Connection:
    """Return the running event loop's connection to one server."""
    connections = _connections.get()
    connection = connections.get(host)
    if connection is None:
        connection = connections[host] = Connection(host)
    return connection


async def connections_to(host: Host) -> list[Connection]:
    """Return the connections to the servers with the data of a host: one, or one to each primary
    of a Cluster.

    Raises:
        redis.RedisError, OSError: no node of the Cluster tells them.
    """
    connection = connection_to(host)
    return [connection] if isinstance(connection, Connection) else await connection.primaries()


async def exchange_all(
    commands: Mapping[Host, Sequence[Command]],
) -> dict[Host, list[Any] | Exception]:
    """Write commands to their hosts at the same time, over the running event loop's connections.

    Returns:
        By host: the replies, among them error *replies*; or the RedisError or OSError of a host
        that is out of reach. Commands that aren't repeatable may then have been done or not.
    """

    async def ask(host: Host) -> list[Any] | Exception:
        try:
            return await connection_to(host).exchange(commands[host])
        except (RedisError, OSError) as error:
            return error

    if len(commands) == 1:  # without a task
        return {host: await ask(host) for host in commands}
    return dict(zip(commands, await asyncio.gather(*map(ask, commands)), strict=True))


async def _close_all(connections: dict[Host, Any]) -> None:
    for connection in tuple(connections.values()):
        await connection.close()


_connections: LoopLocal[dict[Host, Connection]] = LoopLocal(dict, _close_all)
_clusters: LoopLocal[dict[Host, ClusterConnection[Connection]]] = LoopLocal(dict, _close_all)


async def _write(link: Any, commands: Sequence[Command]) -> None:
    packed = _packed(commands)
    with dead_transport_as_lost():
        await link.send_packed_command(packed, check_health=False)


def _packed(commands: Sequence[Command]) -> list[bytes]:
    """Return commands in Redis's protocol. redis-py's async connections do it in Python, at seven
    times the cost.
    """
    try:
        return [pack_command(command.parts) for command in commands]
    except TypeError as error:
        raise DataError(str(error)) from error


async def _read_reply(link: Any) -> Any:
    """Return one reply. An error *reply* is returned too, so that later replies can be read."""
    try:
        return await link.read_response()
    except RedisError as error:
        if not link.is_connected:
            raise
        return error


async def _role(link: Any, limit_seconds: float) -> Any:
    """Return the reply to ROLE, an error reply too; None if the connection is dead."""
    try:
        async with asyncio.timeout(limit_seconds):
            with dead_transport_as_lost():
                await link.send_command("ROLE", check_health=False)
            return await _read_reply(link)
    except (RedisError, OSError):
        return None


async def _has_unread(link: Any) -> bool:
    """Tell whether an idle connection has something to read, which is usually its end."""
    try:
        unread: bool = await link.can_read()
    except (RedisError, OSError):
        return True
    return unread


def _call(listeners: Iterable[Callable[[], None]]) -> None:
    for listener in tuple(listeners):
        listener()


def _fail(calls: Sequence[_Call], error: Exception) -> None:
    for call in calls:
        if not call.replies.done():
            call.replies.set_exception(error)
