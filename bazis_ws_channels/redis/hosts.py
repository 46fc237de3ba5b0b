"""Redis hosts: entries of channels-redis's ``hosts``, as values."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from channels_redis.utils import create_pool, decode_hosts
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url

from ..conf import conf

__all__ = ["Host", "hosts_of", "presence_host", "shard_of"]

#: Seconds to wait for a dead sentinel before the next is asked.
_SENTINEL_SECONDS = 0.5


class Host:
    """One Redis server, the primary that Sentinel names, or a Redis Cluster.

    Hosts with the same options are equal, so that all callers share one connection to a server.
    `repr` shows no password. Nobody connects to a Cluster, but to its nodes.

    Args:
        options: ``{"address": url}``, ``{"host": ..., "port": ...}``, ``{"master_name": ...,
            "sentinels": [...]}`` or ``{"cluster": [(host, port), ...]}``, with further arguments
            of redis-py's connections.

    Attributes:
        is_cluster: whether it is a Cluster.
        is_node: whether it is a node of a Cluster, which says by MOVED who is the primary.
        is_sharded: whether each channel is on the node of its slot: in a Cluster, unless the option
            ``sharded`` says no, for Redis before 7.
        publish_verb: the command that publishes.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = dict(options)
        self.is_cluster = "cluster" in self.options
        self.is_node = False
        self.is_sharded = self.is_cluster and bool(self.options.get("sharded", True))
        self.publish_verb = "SPUBLISH" if self.is_sharded else "PUBLISH"
        self._key = repr(sorted(self.options.items(), key=lambda item: item[0]))
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Host) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<Host {self.label}>"

    @property
    def label(self) -> str:
        """The server's address without user name and password."""
        if self.is_cluster:
            return "cluster:" + ",".join(f"{name}:{port}" for name, port in self.seeds)
        if "master_name" in self.options:
            return f"sentinel:{self.options['master_name']}"
        if "address" in self.options:
            return str(self.options["address"]).rpartition("@")[2].rpartition("//")[2]
        return f"{self.options.get('host', 'localhost')}:{self.options.get('port', 6379)}"

    @property
    def database(self) -> int:
        """The number of the database."""
        options = self.options
        if "address" in options:
            options = {**options, **parse_url(str(options["address"]))}
        return int(options.get("db") or 0)

    @property
    def seeds(self) -> list[tuple[str, int]]:
        """The nodes of a Cluster that are asked first for the others."""
        return [(name, int(port)) for name, port in self.options["cluster"]]

    def node(self, name: str, port: int) -> Host:
        """Return a node of a Cluster, with the Cluster's options."""
        options = {**self.options, "host": name, "port": port}
        for own in ("cluster", "sharded"):
            options.pop(own, None)
        if options.pop("ssl", False):
            address = f"[{name}]" if ":" in name else name
            del options["host"], options["port"]
            options["address"] = f"rediss://{address}:{port}"
        node = Host(options)
        node.is_node = True
        return node

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for an answer."""
        return float(self.options.get("socket_timeout") or conf.BAZIS_WS_REDIS_TIMEOUT)

    @property
    def connect_seconds(self) -> float:
        """How long to wait for a connection, including the search through sentinels."""
        sentinels = len(self.options.get("sentinels", ()))
        return self.timeout_seconds + 2 * sentinels * _SENTINEL_SECONDS

    def async_pool(self) -> Any:
        """Return a pool that makes connections for one event loop."""
        options = self.connection_options(AsyncRetry(NoBackoff(), 0), timeout=None)
        return create_pool(options)

    def connection_options(self, retry: Any, timeout: float | None) -> dict[str, Any]:
        """Return the arguments of redis-py's connections."""
        options = {
            "socket_connect_timeout": self.timeout_seconds,
            "socket_keepalive": True,
            **self.options,
            "retry": retry,
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": timeout,
        }
        if "unix://" in str(options.get("address", "")) or "path" in options:
            del options["socket_keepalive"]
        if "master_name" in options:
            options["sentinel_kwargs"] = {
                "socket_timeout": _SENTINEL_SECONDS,
                "socket_connect_timeout": _SENTINEL_SECONDS,
                "retry": retry,
                **(options.get("sentinel_kwargs") or {}),
            }
        return options


def hosts_of(entries: Sequence[Any] | None) -> list[Host]:
    """Return the hosts of a channel layer's ``hosts`` setting; localhost for none.

    Raises:
        ImproperlyConfigured: a Cluster is not the only one.
    """
    hosts = [Host(options) for options in decode_hosts(entries)]
    if len(hosts) > 1 and any(host.is_cluster for host in hosts):
        raise ImproperlyConfigured("A Redis Cluster must be the only host: it has shards itself.")
    return hosts


def shard_of(name: str, hosts: Sequence[Host]) -> Host:
    """Return the host of a Redis channel, as channels-redis chooses it: by the upper bits of a
    12-bit checksum.
    """
    if len(hosts) == 1:
        return hosts[0]
    return hosts[int((binascii.crc32(name.encode()) & 0xFFF) / (4096 / len(hosts)))]


def presence_host() -> Host | None:
    """Return the Redis of the presence: ``BAZIS_WS_REDIS_URL``, else the default channel layer's
    first host. None if presence is kept in the process.
    """
    if conf.BAZIS_WS_REDIS_URL:
        return Host({"address": conf.BAZIS_WS_REDIS_URL})
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {})
    if "redis" not in layer.get("BACKEND", "").lower():
        return None
    return hosts_of(layer.get("CONFIG", {}).get("hosts"))[0]
