"""System checks of ``manage.py check --deploy`` on Redis Clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from redis.exceptions import ResponseError

from .conf import conf
from .redis.blocking import exchange
from .redis.commands import Command
from .redis.hosts import Host, hosts_of, presence_host
from .redis_checks import are_hosts_usable

__all__ = ["check_cluster", "check_cluster_names"]

#: How long Redis may take, to connect and to answer.
_REDIS_SECONDS = 0.6
_OUR_LAYER = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
_QUESTIONS = [Command(("CLUSTER", "INFO")), Command(("COMMAND", "INFO", "SPUBLISH"))]


def check_cluster(**kwargs: Any) -> list[CheckMessage]:
    """Find a node of a Redis Cluster that is named as a single server, or the other way round."""
    found = dict(_hosts())
    replies = exchange({host: _QUESTIONS for host in found if not host.is_cluster}, _REDIS_SECONDS)
    messages: list[CheckMessage] = []
    for host, answer in replies.items():
        if isinstance(answer, list) and isinstance(answer[0], bytes):
            message = f"{host.label} is a node of a Redis Cluster ({found[host]})."
            hint = (
                'In CHANNEL_LAYERS, CONFIG, let "hosts" be [{"cluster": [("HOST", PORT), ...]}],'
                " and leave BAZIS_WS_REDIS_URL out; see docs/deployment.md."
            )
            messages.append(Error(message, hint=hint, id="bazis_ws.E043"))
    for host in found:
        if host.is_cluster:
            messages += _of_nodes(host, (host.node(*seed) for seed in host.seeds))
    return messages


def check_cluster_names(**kwargs: Any) -> list[CheckMessage]:
    """Find prefixes that would tear apart, in a Cluster, the keys and channels that must be in one
    slot.
    """
    hosts = dict(_hosts())
    config = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {}).get("CONFIG", {})
    prefixes = conf.BAZIS_WS_KEY_PREFIX + str(config.get("prefix", ""))
    if not any(host.is_cluster for host in hosts) or not set("{}") & set(prefixes):
        return []
    message = "BAZIS_WS_KEY_PREFIX or the layer's `prefix` has a brace, and Redis is a Cluster."
    hint = "Leave it out: the package gives its keys the hash tags that they need."
    return [Error(message, hint=hint, id="bazis_ws.E046")]


def _of_nodes(cluster: Host, nodes: Iterable[Host]) -> Iterator[CheckMessage]:
    """Yield what is wrong with the nodes that a Cluster's setting names."""
    for node, answer in exchange(dict.fromkeys(nodes, _QUESTIONS), _REDIS_SECONDS).items():
        if isinstance(answer, Exception):
            continue  # away: the others serve
        info, spublish = answer
        if isinstance(info, ResponseError) and "cluster support disabled" in str(info):
            message = f"{node.label} is not a node of a Redis Cluster."
            hint = 'Name a single server by a URL in "hosts" of the channel layer.'
            yield Error(message, hint=hint, id="bazis_ws.E044")
        elif cluster.is_sharded and spublish in ([None], [[]]):
            message = f"{node.label} is older than Redis 7, and has no sharded channels."
            hint = 'Add "sharded": False to the Cluster\'s entry in "hosts".'
            yield Error(message, hint=hint, id="bazis_ws.E045")


def _hosts() -> Iterator[tuple[Host, str]]:
    """Yield the hosts in use, each with the setting that names it; none if one is named wrongly."""
    if not are_hosts_usable():
        return
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {})
    if layer.get("BACKEND") == _OUR_LAYER:
        for host in hosts_of(layer.get("CONFIG", {}).get("hosts")):
            yield host, "CHANNEL_LAYERS"
    own = presence_host()
    if own is not None:
        yield own, "BAZIS_WS_REDIS_URL" if conf.BAZIS_WS_REDIS_URL else "CHANNEL_LAYERS"
