"""Which pages may open a socket (RFC 6455, section 10.2). No I/O.

With a token, the page must be of one of the site's hosts, or listed in the settings. With a Django
session the browser sends the cookie by itself, for whichever page asks: then the page must be of
the very site that is asked, with scheme, host and port, as Django's CSRF check has it, or listed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.request import validate_host

from .conf import conf
from .types import Scope

__all__ = ["Origins"]

logger = logging.getLogger("bazis_ws_channels")

#: Refused origins that are logged: each once, for anybody may send as many as they like.
_MOST_LOGGED = 100


class Origins:
    """Decides about handshakes' ``Origin``s, and logs those that it refuses, each once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def are_allowed(self, scope: Scope, *, by_cookie: bool) -> bool:
        """Tell whether a handshake may go on. Without ``Origin`` it is no browser's, and may.

        Args:
            by_cookie: the user is that of a Django session.
        """
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value.decode("latin-1")
                if not _is_allowed(origin, scope, by_cookie):
                    self._log(origin, by_cookie)
                    return False
        return True

    def _log(self, origin: str, by_cookie: bool) -> None:
        if len(self._logged) >= _MOST_LOGGED or origin in self._logged:
            return
        self._logged.add(origin)
        logger.warning(
            "A handshake%s from a page of %.200r was refused. If the page is yours, add it to"
            " BAZIS_WS_ALLOWED_ORIGINS (behind a proxy, see SECURE_PROXY_SSL_HEADER and"
            " USE_X_FORWARDED_HOST too).",
            " with a Django session" if by_cookie else "",
            origin,
        )


def _is_allowed(origin: str, scope: Scope, by_cookie: bool) -> bool:
    allowed = conf.BAZIS_WS_ALLOWED_ORIGINS or ()
    if isinstance(allowed, str):  # not its characters, of which one may be a "*"
        allowed = [allowed]
    try:
        parts = urlsplit(origin)
        host, scheme, netloc = parts.hostname or "", parts.scheme, parts.netloc
    except ValueError:
        return False  # no origin at all, such as "http://["
    if by_cookie:
        trusted = [*allowed, *settings.CSRF_TRUSTED_ORIGINS]
        return origin == _site(scope) or any(
            _matches(origin, scheme, netloc, each) for each in trusted if each != "*"
        )
    is_ours = bool(host) and validate_host(host, _hosts())
    return is_ours or any(_matches(origin, scheme, netloc, each) for each in allowed)


def _site(scope: Scope) -> str | None:
    """Return the origin of the site that is asked, as Django would say it of an HTTP request; None
    for a host that isn't in ``ALLOWED_HOSTS``.
    """
    request = HttpRequest()
    for name, value in scope["headers"]:
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        request.META[key] = value.decode("latin-1")
    server = scope.get("server") or ("", 0)
    request.META["SERVER_NAME"], request.META["SERVER_PORT"] = str(server[0]), str(server[1] or 80)
    is_secure = scope.get("scheme") == "wss" or request.scheme == "https"
    try:
        return f"{'https' if is_secure else 'http'}://{request.get_host()}"
    except DisallowedHost:
        return None


def _hosts() -> Iterable[str]:
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]", "::1"]
    return [host.strip("[]") if host.startswith("[") else host for host in settings.ALLOWED_HOSTS]


def _matches(origin: str, scheme: str, netloc: str, pattern: str) -> bool:
    """Match an origin as Django's ``CSRF_TRUSTED_ORIGINS`` does; "*" is any."""
    if pattern in ("*", origin):
        return True
    wanted_scheme, _, wanted = pattern.partition("://")
    return wanted_scheme == scheme and wanted.startswith("*.") and netloc.endswith(wanted[1:])
