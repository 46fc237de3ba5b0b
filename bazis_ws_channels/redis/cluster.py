"""A Redis Cluster: commands go to the nodes of their slots, from sync and from async code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from .calls import Calls
from .commands import Command
from .errand import Answers, Errand
from .hosts import Host
from .topology import SLOTS, Topology, topology_of

__all__ = ["ClusterConnection", "exchange_blocking", "primaries_blocking"]

#: Age of a map up to which it is not read again after a MOVED, which has corrected it.
_FRESH_SECONDS = 1.0
#: Age of a map from which it is read again before it is used, as an idle connection is checked:
#: nobody reports a node that has died or gone silent.
_LOOK_SECONDS = 5.0

Send = Callable[[Mapping[Host, Sequence[Command]], float], Answers]
S = TypeVar("S", bound=Calls)


class ClusterConnection(Calls, Generic[S]):
    """The connections of one event loop to a Cluster: one to each node.

    Args:
        host: the Cluster.
        connect: returns the connection to a node.
    """

    def __init__(self, host: Host, connect: Callable[[Host], S]) -> None:
        self.host = host
        self.topology = topology_of(host)
        #: Called when the map has changed.
        self.change_listeners: set[Callable[[], None]] = set()
        self._connect = connect
        self._told_version = self.topology.version
        self._search: asyncio.Task[None] | None = None

    @property
    def openings(self) -> int:
        """How often connections to the present nodes were opened; less where nodes are gone."""
        return sum(self._connect(node).openings for node in self.topology.nodes)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands, in their order. In the place of a command that was
        refused, or whose node is out of reach, is the error.

        Raises:
            redis.RedisError, OSError: no node tells the map.
        """
        await self.find()
        if _is_old(self.topology):
            await self._try_to_refresh(None)
        errand = Errand({self.host: commands})
        deadline = time.monotonic() + self.host.timeout_seconds
        while asked := errand.asked():
            errand.take(await self._send(asked))
            for topology, failed in errand.stale.items():
                if not _is_corrected(topology, failed):
                    await self._try_to_refresh(failed)
            if errand.wait_seconds:
                if time.monotonic() + errand.wait_seconds > deadline:
                    errand.give_up()
                else:
                    await asyncio.sleep(errand.wait_seconds)
        self._tell()
        replies = errand.replies[self.host]
        assert isinstance(replies, list)  # noqa: S101 - as it is for every Cluster
        return replies

    async def primaries(self) -> list[S]:
        """Return the connections to the nodes that have slots.

        Raises:
            redis.RedisError, OSError: no node tells them.
        """
        await self.find()
        if not self.topology.primaries:
            raise _nobody(self.host, None)
        return [self._connect(node) for node in self.topology.primaries]

    async def find(self) -> None:
        """Read the map if that was never done.

        Raises:
            redis.RedisError, OSError: no node tells it.
        """
        if not self.topology.is_known:
            await self.refresh()

    async def refresh(self, failed: Host | None = None) -> None:
        """Read the map again. Calls at the same time share one search.

        Args:
            failed: a node that is asked last.

        Raises:
            redis.RedisError, OSError: no node tells it.
        """
        await asyncio.shield(self._start_search(failed))

    def _start_search(self, failed: Host | None = None) -> asyncio.Task[None]:
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._read_map(failed))
            self._search.add_done_callback(self._found)
        return self._search

    def _found(self, search: asyncio.Task[None]) -> None:
        if not search.cancelled():
            search.exception()  # the callers raise it: asyncio needn't log it
            self._tell()

    async def close(self) -> None:
        """Stop reading the map. The nodes' connections are closed by `redis.connection`."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)

    async def rest(self) -> None:
        """Close the nodes' connections unless a call is under way."""
        for node in self.topology.nodes:
            await self._connect(node).rest()

    async def _send(self, asked: Mapping[Host, Sequence[Command]]) -> Answers:
        sent = [self._send_to(server, commands) for server, commands in asked.items()]
        answers = [await sent[0]] if len(sent) == 1 else await asyncio.gather(*sent)
        return dict(zip(asked, answers, strict=True))

    async def _send_to(self, server: Host, commands: Sequence[Command]) -> list[Any] | Exception:
        try:
            return await self._connect(server).exchange(commands)
        except (RedisError, OSError) as error:
            return error

    async def _try_to_refresh(self, failed: Host | None) -> None:
        try:
            await self.refresh(failed)
        except (RedisError, OSError):
            pass  # the error of the command says more

    async def _read_map(self, failed: Host | None) -> None:
        last: Exception | None = None
        for node in self.topology.to_ask(failed):
            try:
                async with asyncio.timeout(self.host.timeout_seconds / 2):
                    [reply] = await self._connect(node).exchange([SLOTS])
            except (RedisError, OSError) as error:
                last = error
                continue
            last = _read(self.topology, reply, node)
            if last is None:
                return
        raise _nobody(self.host, last)

    def _tell(self) -> None:
        """Call the listeners if the map has changed. Sync code may have read it, too."""
        if self._told_version != self.topology.version:
            self._told_version = self.topology.version
            for listener in tuple(self.change_listeners):
                listener()


def exchange_blocking(
    commands: Mapping[Host, Sequence[Command]], limit_seconds: float, send: Send
) -> dict[Host, list[Any] | Exception]:
    """Write commands to their servers, some to the nodes of Clusters, and return the replies.

    Args:
        limit_seconds: for all of it.
        send: writes commands to single servers, and returns their replies within so many seconds.

    Returns:
        By host: the replies; those of a Cluster have an error in the place of each command whose
        node is out of reach.
    """
    deadline = time.monotonic() + limit_seconds
    lost: dict[Host, list[Any] | Exception] = {}
    for host in commands:
        if host.is_cluster and _is_old(topology_of(host)):
            error = _read_map_blocking(topology_of(host), None, deadline, send)
            if error is not None and not topology_of(host).is_known:
                lost[host] = error
    errand = Errand({host: own for host, own in commands.items() if host not in lost})
    while asked := errand.asked():
        errand.take(send(asked, deadline - time.monotonic()))
        for topology, failed in errand.stale.items():
            if not _is_corrected(topology, failed):
                _read_map_blocking(topology, failed, deadline, send)
        if time.monotonic() + errand.wait_seconds >= deadline:
            errand.give_up()
        elif errand.wait_seconds:
            time.sleep(errand.wait_seconds)
    return {**errand.replies, **lost}


def primaries_blocking(host: Host, send: Send) -> list[Host]:
    """Ask a Cluster for its map; return the nodes that have slots.

    Raises:
        redis.RedisError, OSError: no node tells them.
    """
    topology, deadline = topology_of(host), time.monotonic() + host.timeout_seconds
    error = _read_map_blocking(topology, None, deadline, send)
    if error is not None:
        raise error
    return topology.primaries


def _read_map_blocking(
    topology: Topology, failed: Host | None, deadline: float, send: Send
) -> Exception | None:
    """Read the map from one node after another; return why none has told it."""
    last: Exception | None = None
    for node in topology.to_ask(failed):
        left = min(deadline - time.monotonic(), node.timeout_seconds / 2)
        if left <= 0:
            break
        answer = send({node: [SLOTS]}, left)[node]
        last = answer if isinstance(answer, Exception) else _read(topology, answer[0], node)
        if last is None:
            return None
    return _nobody(topology.cluster, last)


def _is_corrected(topology: Topology, failed: Host | None) -> bool:
    """Tell whether a MOVED is all that was wrong with the map: it is fresh, and no node failed."""
    return failed is None and time.monotonic() - topology.read_at < _FRESH_SECONDS


def _is_old(topology: Topology) -> bool:
    return time.monotonic() - topology.read_at > _LOOK_SECONDS


def _read(topology: Topology, reply: Any, node: Host) -> Exception | None:
    """Take the map from a node's reply; return what is wrong with that."""
    if isinstance(reply, Exception):
        return reply
    try:
        topology.read(reply, node)
    except ValueError as error:
        return error
    return None


def _nobody(cluster: Host, last: Exception | None) -> RedisError:
    return RedisConnectionError(f"no node of {cluster.label} tells the slots ({last})")
