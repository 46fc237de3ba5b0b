"""Which node of a Redis Cluster has which slot. No I/O.

redis-py's `NodesManager` holds clients of its own, blocking or bound to one event loop, and locks
that a fork may leave held. Here sync and async code of a process share one map, whose values are
our `Host` objects.
"""

from __future__ import annotations

import random
import time
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError

from .commands import Command
from .hosts import Host

__all__ = ["SLOTS", "Topology", "slot_of", "topology_of"]

#: Asks a node for the whole map.
SLOTS = Command(("CLUSTER", "SLOTS"), is_repeatable=True)


def slot_of(key: str) -> int:
    """Return the slot of a key or channel."""
    return key_slot(key.encode())


class Topology:
    """The nodes of a Cluster, as far as this process knows. Changed in place, without locks.

    Args:
        cluster: the host that is a Cluster.

    Attributes:
        cluster: that host.
        version: grows with every change.
        read_at: when the map was read last, in seconds by `time.monotonic`.
    """

    def __init__(self, cluster: Host) -> None:
        self.cluster = cluster
        self.version = 0
        self.read_at = float("-inf")
        self._hosts: dict[tuple[str, int], Host] = {}
        self._names: dict[Host, str] = {}
        self._owners: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._replicas: list[Host] = []

    @property
    def is_known(self) -> bool:
        """Whether a node has told the map."""
        return self.version > 0

    @property
    def primaries(self) -> list[Host]:
        """The nodes that have slots."""
        return list(dict.fromkeys(owner for owner in self._owners if owner is not None))

    @property
    def nodes(self) -> list[Host]:
        """All nodes: primaries, then replicas."""
        return [*self.primaries, *self._replicas]

    def node_of(self, key: str | None) -> Host | None:
        """Return the node of a key's slot, or any node for the key None. None if no node has the
        slot.
        """
        if key is None:
            return random.choice(self.primaries or [None])
        return self._owners[slot_of(key)]

    def to_ask(self, failed: Host | None = None) -> list[Host]:
        """Return the nodes to ask for the map, in this order: those of the map, shuffled; the seeds
        of the settings; the node that has failed.
        """
        nodes = self.nodes
        random.shuffle(nodes)
        seeds = [self._host(name, port) for name, port in self.cluster.seeds]
        found = dict.fromkeys([*nodes, *seeds])
        if failed in found:
            found.pop(failed)
            found[failed] = None
        return list(found)

    def read(self, reply: Any, by: Host) -> None:
        """Take the map from the reply of the node `by` to CLUSTER SLOTS: rows of the first slot,
        the last slot, the primary and the replicas, each node as ``[name, port, ...]``.

        Raises:
            ValueError: the reply has another form.
        """
        owners: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        replicas: dict[Host, None] = {}
        try:
            for first, last, *nodes in reply:
                primary, *others = (self._named(name, port, by) for name, port, *_ in nodes)
                owners[first : last + 1] = [primary] * (last - first + 1)
                replicas.update(dict.fromkeys(others))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"unexpected reply to CLUSTER SLOTS: {reply!r:.200}") from error
        self.read_at = time.monotonic()
        if owners != self._owners or list(replicas) != self._replicas:
            self._owners, self._replicas = owners, list(replicas)
            self.version += 1

    def target(self, error: AskError, by: Host) -> Host:
        """Return the node that MOVED or ASK names. An empty name means that of the node `by`,
        which sent it.
        """
        return self._named(error.host, error.port, by)

    def move(self, error: AskError, by: Host) -> None:
        """Note the node of one slot, which a MOVED of the node `by` names."""
        node = self.target(error, by)
        if self._owners[error.slot_id] != node:
            self._owners[error.slot_id] = node
            self.version += 1

    def _named(self, name: bytes | str | None, port: int, by: Host) -> Host:
        text = name.decode() if isinstance(name, bytes) else name
        if text in (None, "", "?"):  # Redis: the name under which `by` was reached
            text = self._names[by]
        return self._host(str(text), port)

    def _host(self, name: str, port: int) -> Host:
        host = self._hosts.get((name, port))
        if host is None:
            host = self._hosts[name, port] = self.cluster.node(name, port)
            self._names[host] = name
        return host


def topology_of(cluster: Host) -> Topology:
    """Return this process's one map of a Cluster."""
    topology = _topologies.get(cluster)
    return topology if topology is not None else _topologies.setdefault(cluster, Topology(cluster))


_topologies: dict[Host, Topology] = {}
