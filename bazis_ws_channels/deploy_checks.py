"""System checks of ``manage.py check --deploy``: what makes an installation less safe than it
could be. They may load the ASGI application, and ask Redis if it answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from channels.auth import AuthMiddleware
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string
from redis.connection import parse_url

from .cluster_checks import check_cluster, check_cluster_names
from .conf import conf
from .redis.blocking import exchange
from .redis.commands import Command
from .redis.hosts import Host, presence_host
from .redis_checks import are_hosts_usable

__all__ = [
    "ALL_CHECKS",
    "check_anonymous",
    "check_cookies",
    "check_generated_key",
    "check_own_tokens",
    "check_redis_is_not_a_cache",
    "check_redis_keeps",
]

#: How every key begins that Django's startproject generates.
_GENERATED = "django-insecure-"
#: How long Redis may take, to connect and to answer.
_REDIS_SECONDS = 0.3


def check_own_tokens(**kwargs: Any) -> list[CheckMessage]:
    """Find sockets that any JWT of the project's SECRET_KEY opens."""
    is_default = conf.BAZIS_WS_JWT_KEY is None and conf.BAZIS_WS_JWT_CLAIM == "sub"
    if conf.BAZIS_WS_REQUIRE_OWN_TOKENS or not is_default:
        return []
    message = "Every JWT that is signed with SECRET_KEY and names a user in `sub` opens a session."
    hint = (
        "Set BAZIS_WS_REQUIRE_OWN_TOKENS = True unless clients bring tokens of another service: the"
        " own ones name the user by the primary key, and a new password voids them without Redis."
    )
    return [Warning(message, hint=hint, id="bazis_ws.W014")]


def check_generated_key(**kwargs: Any) -> list[CheckMessage]:
    """Find the SECRET_KEY that `startproject` generated, which is in the repository as a rule.

    Only ``check --deploy`` asks: it is as random as it should be, and good for developing.
    """
    source = conf.BAZIS_WS_JWT_KEY
    known = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS] if source is None else [source]
    generated = any(isinstance(key, str) and key.startswith(_GENERATED) for key in known)
    if not generated or not conf.algorithms[0].startswith("HS"):
        return []
    message = "Tokens are signed with the SECRET_KEY that startproject wrote into the settings."
    hint = "Whoever can read the repository can sign in as anybody. Make another, and keep it out."
    return [Error(message, hint=hint, id="bazis_ws.E015")]


def check_anonymous(**kwargs: Any) -> list[CheckMessage]:
    """Find anonymous sessions whose limit by address can't hold behind a proxy, and a setting of
    theirs that does nothing.
    """
    if not conf.BAZIS_WS_ANONYMOUS:
        if not conf.BAZIS_WS_ANONYMOUS_COMMON:
            return []
        message = "BAZIS_WS_ANONYMOUS_COMMON does nothing without BAZIS_WS_ANONYMOUS."
        hint = "Set BAZIS_WS_ANONYMOUS = True if visitors are to have sessions."
        return [Warning(message, hint=hint, id="bazis_ws.W017")]
    if conf.BAZIS_WS_CLIENT_ADDRESS_HEADER is not None:
        return []
    message = (
        "Anybody can open anonymous sessions, and behind a proxy the server does not know whose"
        f" they are: all visitors share {conf.BAZIS_WS_MAX_ANONYMOUS} of a process."
    )
    hint = (
        "Set BAZIS_WS_CLIENT_ADDRESS_HEADER to the header that your proxy sets. Silence this if"
        " clients connect directly."
    )
    return [Warning(message, hint=hint, id="bazis_ws.W018")]


def check_cookies(**kwargs: Any) -> list[CheckMessage]:
    """Find wildcards where Django sessions sign sockets in."""
    if not _signs_in_by_cookie():
        return []
    messages: list[CheckMessage] = []
    if "*" in (conf.BAZIS_WS_ALLOWED_ORIGINS or ()):
        message = 'BAZIS_WS_ALLOWED_ORIGINS has "*", and Django sessions sign sockets in.'
        hint = "Name the origins. (With a Django session the package takes no notice of it.)"
        messages.append(Error(message, hint=hint, id="bazis_ws.E060"))
    if "*" in settings.ALLOWED_HOSTS:
        message = 'ALLOWED_HOSTS has "*", and Django sessions sign sockets in.'
        hint = "Name the hosts: a page is of the site when its origin is the Host that was asked."
        messages.append(Error(message, hint=hint, id="bazis_ws.E061"))
    return messages


def check_redis_keeps(**kwargs: Any) -> list[CheckMessage]:
    """Find a presence Redis that forgets: revocations would be among what it evicts."""
    host = presence_host() if are_hosts_usable() else None
    policy = None if host is None else _eviction_policy(host)
    if policy is None:
        return []
    message = f"The presence Redis evicts (maxmemory-policy {policy}): revoked tokens come back."
    hint = "Set maxmemory-policy to noeviction, or give presence a Redis of its own."
    return [Warning(message, hint=hint, id="bazis_ws.W041")]


def check_redis_is_not_a_cache(**kwargs: Any) -> list[CheckMessage]:
    """Find presence in a database that `cache.clear()` empties."""
    host = presence_host() if are_hosts_usable() else None
    own = None if host is None else _database(host)
    if own is None:
        return []
    for alias, cache in settings.CACHES.items():
        locations = cache.get("LOCATION") or ()
        locations = [locations] if isinstance(locations, str) else list(locations)
        if "redis" in str(cache.get("BACKEND", "")).lower() and any(
            _database(Host({"address": each})) == own for each in locations
        ):
            message = f"CACHES[{alias!r}] is in the presence's Redis database."
            hint = "cache.clear() would forget who is online, and which tokens are revoked."
            return [Warning(message, hint=hint, id="bazis_ws.W042")]
    return []


def _signs_in_by_cookie() -> bool:
    """Tell whether Django sessions sign in: by channels' AuthMiddleware around a WebSocket
    application, or by our own.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    try:
        application = import_string(path) if path else None
    except Exception:
        return False  # the server will say why
    mapping = getattr(application, "application_mapping", {})
    return any(
        isinstance(each, AuthMiddleware) or getattr(each, "sessions", False) is True
        for each in _layers(mapping.get("websocket"))
    )


def _layers(application: Any) -> Iterator[Any]:
    """Yield an application and those that it wraps."""
    while application is not None:
        yield application
        application = getattr(application, "inner", None) or getattr(
            application, "application", None
        )


def _eviction_policy(host: Host) -> str | None:
    """Return what Redis does when its memory is full; None without a limit, or without a quick
    answer. Of a Cluster those nodes are asked that the settings name.
    """
    servers = [host.node(*seed) for seed in host.seeds] if host.is_cluster else [host]
    command = Command(("INFO", "memory"))
    answers = exchange({server: [command] for server in servers}, 2 * _REDIS_SECONDS)
    policies = {
        lines["maxmemory_policy"]
        for answer in answers.values()
        if (lines := _lines_of(answer)).get("maxmemory", "0") != "0"
    }
    return min(policies - {"noeviction"}, default=None)


def _lines_of(answer: list[Any] | Exception) -> dict[str, str]:
    """Return what INFO says; nothing where it says nothing: that is for other checks."""
    if isinstance(answer, Exception) or not isinstance(answer[0], bytes):
        return {}
    lines = (line.partition(":") for line in answer[0].decode().splitlines())
    return {name: value for name, _, value in lines}


def _database(host: Host) -> tuple[str, int, int] | None:
    """Return the host name or path, the port and the number of a database; None where the settings
    don't say them: of Sentinel, of a Cluster, by an address of another form.
    """
    options = host.options
    try:
        if "address" in options:
            options = dict(parse_url(str(options["address"])))
        place, port = options.get("host") or options.get("path"), options.get("port", 6379)
        return None if place is None else (str(place), int(port), host.database)
    except ValueError:
        return None


ALL_CHECKS = (
    check_own_tokens,
    check_generated_key,
    check_anonymous,
    check_cookies,
    check_redis_keeps,
    check_redis_is_not_a_cache,
    check_cluster,
    check_cluster_names,
)
