"""Commands on their way to the nodes of a Redis Cluster, and their replies. No I/O.

Two shells, one for sync and one for async code, send what `asked` returns, pass the replies to
`take`, and read the maps in `stale` again, until `asked` returns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    TryAgainError,
)

from .commands import Command
from .errors import was_refused
from .hosts import Host
from .topology import Topology, slot_of, topology_of

__all__ = ["Answers", "Errand"]

#: By server: the replies, or the error of a server that is out of reach.
Answers = Mapping[Host, list[Any] | Exception]

_ASKING = Command(("ASKING",))
#: How often a command follows MOVED, ASK or a failover before an error is its reply.
_TURNS = 8
#: Seconds to wait while the keys of a slot are on their way to another node.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.01, 0.2


@dataclass(slots=True)
class _Item:
    """One command of a host, its place in the host's reply, and its state."""

    host: Host
    place: int
    command: Command
    node: Host | None = None  # the node that ASK has named, or the one that has failed
    is_asking: bool = False
    error: Exception | None = None
    turns: int = 0


class Errand:
    """Commands of one call, some of them to Clusters.

    Args:
        commands: by host.

    Attributes:
        stale: the maps to read again before the next `asked`, each with the node that has failed;
            None where no node has.
        wait_seconds: how long to wait before the next `asked`.
    """

    def __init__(self, commands: Mapping[Host, Sequence[Command]]) -> None:
        self.stale: dict[Topology, Host | None] = {}
        self.wait_seconds = 0.0
        self._replies: dict[Host, list[Any]] = {
            host: [None] * len(own) for host, own in commands.items()
        }
        self._lost: dict[Host, Exception] = {}
        self._open = [
            _Item(host, place, command)
            for host, own in commands.items()
            for place, command in enumerate(own)
        ]
        self._sent: dict[Host, list[_Item | None]] = {}

    @property
    def replies(self) -> dict[Host, list[Any] | Exception]:
        """The replies by host. A Cluster's list has an error in the place of each command whose
        node is out of reach. A single server that is out of reach has one error for its list.
        """
        return {host: self._lost.get(host, own) for host, own in self._replies.items()}

    def asked(self) -> dict[Host, list[Command]]:
        """Return the commands to send next, by server; an empty dict when all are answered."""
        asked: dict[Host, list[Command]] = {}
        self._sent, waiting = {}, self._open
        self._open = []
        for item in waiting:
            server = self._server_of(item)
            if server is None:
                continue
            commands, sent = asked.setdefault(server, []), self._sent.setdefault(server, [])
            if item.is_asking:
                commands.append(_ASKING)
                sent.append(None)
            commands.append(item.command)
            sent.append(item)
        return asked

    def take(self, answers: Answers) -> None:
        """Take the answers to the commands that `asked` returned last."""
        self.stale, waits = {}, False
        for server, items in self._sent.items():
            answer = answers[server]
            if isinstance(answer, Exception):
                for item in filter(None, items):
                    self._take_loss(item, server, answer)
                continue
            for each, reply in zip(items, answer, strict=True):
                if each is not None:
                    waits |= self._take_reply(each, server, reply)
        doubled = min(_LONGEST_WAIT_SECONDS, 2 * self.wait_seconds)
        self.wait_seconds = max(_FIRST_WAIT_SECONDS, doubled) if waits else 0.0

    def give_up(self) -> None:
        """Settle each open command with the last error it met: the time is up."""
        for item in self._open:
            self._settle(item, item.error)
        self._open = []

    def _server_of(self, item: _Item) -> Host | None:
        """Return where to send a command; None if no node can take it: its error is the reply."""
        if not item.host.is_cluster:
            return item.host
        if item.is_asking:
            return item.node
        server = topology_of(item.host).node_of(item.command.key)
        if server is None:
            slot = "" if item.command.key is None else f" {slot_of(item.command.key)}"
            item.error = item.error or ClusterDownError(f"no node has the slot{slot}")
        elif server != item.node:
            return server
        self._settle(item, item.error)
        return None

    def _take_loss(self, item: _Item, server: Host, error: Exception) -> None:
        """Note that a server is out of reach. If the command may be sent again, it goes to another
        node, should the map name one once it is read again.
        """
        if not item.host.is_cluster:
            self._lost[item.host] = error
            return
        self.stale[topology_of(item.host)] = server
        if not item.turns and (item.command.is_repeatable or was_refused(error)):
            self._again(item, error, node=server)
        else:
            self._settle(item, error)

    def _take_reply(self, item: _Item, server: Host, reply: Any) -> bool:
        """Take a reply. Return whether to wait before the command is sent again: it was not done if
        the reply is one of these errors.
        """
        if not item.host.is_cluster or not isinstance(reply, RedisError):
            self._settle(item, reply)
            return False
        topology = topology_of(item.host)
        if isinstance(reply, MovedError):
            topology.move(reply, server)
            self.stale.setdefault(topology, None)
            self._again(item, reply)
        elif isinstance(reply, AskError):
            item.command = item.command.unabridged
            self._again(item, reply, node=topology.target(reply, server), is_asking=True)
        elif isinstance(reply, TryAgainError):
            self._again(item, reply, turns=0)
            return True
        else:
            if isinstance(reply, ClusterDownError):
                self.stale.setdefault(topology, None)
            self._settle(item, reply)
        return False

    def _again(
        self,
        item: _Item,
        error: Exception,
        *,
        node: Host | None = None,
        is_asking: bool = False,
        turns: int = 1,
    ) -> None:
        item.node, item.is_asking, item.error = node, is_asking, error
        item.turns += turns
        if item.turns > _TURNS:
            self._settle(item, ClusterDownError(f"the nodes disagree about a slot ({error})"))
        else:
            self._open.append(item)

    def _settle(self, item: _Item, reply: Any) -> None:
        self._replies[item.host][item.place] = reply
