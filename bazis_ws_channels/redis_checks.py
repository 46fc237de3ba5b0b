"""System checks of the settings that name Redis servers. They ask no server."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from redis.connection import parse_url

from .conf import conf
from .redis.hosts import Host, hosts_of

__all__ = ["are_hosts_usable", "check_hosts", "check_layer_arguments"]

_OUR_LAYER = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
_ARGUMENTS = (
    "hosts",
    "on_disconnect",
    "on_reconnect",
    "prefix",
    "serializer_format",
    "symmetric_encryption_keys",
)
_URL = (
    'For instance "redis://127.0.0.1:6379"; a password stands in it as'
    ' urllib.parse.quote(password, safe="") writes it.'
)


def check_hosts(**kwargs: Any) -> list[CheckMessage]:
    """Find Redis servers that are named in a way in which nobody finds them. The server process
    would say so at the first handshake, and other checks could not go on.
    """
    wrong = _wrong_hosts()
    own = conf.BAZIS_WS_REDIS_URL
    if isinstance(own, str) and own and not _is_usable(Host({"address": own})):
        wrong.append(("BAZIS_WS_REDIS_URL is no URL of a Redis server.", _URL))
    return [Error(message, hint=hint, id="bazis_ws.E035") for message, hint in wrong]


def are_hosts_usable() -> bool:
    """Tell whether other checks can look at the hosts: `check_hosts` has nothing to say."""
    return not check_hosts()


def check_layer_arguments(**kwargs: Any) -> list[CheckMessage]:
    """Find arguments of the channel layer that do nothing: typing errors, and those of others."""
    layer = _layer()
    if layer.get("BACKEND") != _OUR_LAYER:
        return []
    messages: list[CheckMessage] = []
    for name in layer.get("CONFIG", {}):
        if name not in _ARGUMENTS:
            near = difflib.get_close_matches(name, _ARGUMENTS, n=1, cutoff=0.6)
            hint = f"Did you mean {near[0]}?" if near else "Leave it out: it is another layer's."
            message = f"CHANNEL_LAYERS: the layer takes no {name!r} in CONFIG."
            messages.append(Warning(message, hint=hint, id="bazis_ws.W036"))
    return messages


def _wrong_hosts() -> list[tuple[str, str]]:
    """Return what is wrong with the channel layer's hosts, if they are used: messages and hints."""
    layer = _layer()
    backend = str(layer.get("BACKEND", ""))
    is_presence = "redis" in backend.lower() and not conf.BAZIS_WS_REDIS_URL
    if backend != _OUR_LAYER and not is_presence:
        return []
    try:
        hosts = hosts_of(layer.get("CONFIG", {}).get("hosts"))
    except (ImproperlyConfigured, IndexError, TypeError, ValueError) as error:
        return [(f"CHANNEL_LAYERS: {error}", '"hosts": ["redis://127.0.0.1:6379"], for instance.')]
    return [
        (f"CHANNEL_LAYERS: {host.label!r} in hosts is no URL of a Redis server.", _URL)
        for host in hosts
        if not _is_usable(host)
    ]


def _is_usable(host: Host) -> bool:
    """Tell whether an address is a URL that redis-py understands. What it finds wrong is not told:
    a part of a password may stand in it.
    """
    try:
        parse_url(str(host.options.get("address", "redis://")))
    except ValueError:
        return False
    return True


def _layer() -> Mapping[str, Any]:
    """Return the setting of the default channel layer."""
    layer: Mapping[str, Any] = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {})
    return layer
