"""Keys of an identity provider, from the URL of its JWK set (RFC 7517, section 5)."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..exceptions import JwksUnavailable
from ..locks import ProcessLock

__all__ = ["RemoteKeys", "from_url"]

logger = logging.getLogger("bazis_ws_channels")

#: The whole of one request.
_LIMIT_SECONDS = 5.0
#: Larger answers are no JWK set.
_LIMIT_BYTES = 512 * 1024
#: How often an unknown `kid` may ask the provider: anybody can make one up.
_UNKNOWN_KID_SECONDS = 60.0
#: How long after a failure the provider is asked again.
_RETRY_SECONDS = 10.0

Jwk = Mapping[str, Any]


def from_url(url: str, lifespan_seconds: float = 300) -> RemoteKeys:
    """Return the keys of a JWK set for ``BAZIS_WS_JWT_KEY``; nothing is fetched yet.

    They are fetched at the first token, again when they are older than `lifespan_seconds`, and
    when a token names a key that they don't have, for that at most once a minute. While the
    provider is down, slow or answers nonsense, the keys that it gave last go on.

    Raises:
        ValueError: the URL is none of http or https, or the lifespan isn't positive.
    """
    return RemoteKeys(url, lifespan_seconds)


class RemoteKeys:
    """Returns the key for a `kid`; safe to call from any thread.

    Args:
        clock: seconds, monotonic.
    """

    #: So that `keyring` asks each time.
    remembers: ClassVar[bool] = True

    def __init__(
        self, url: str, lifespan_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"expected an http or https URL, got {url!r}")
        if not lifespan_seconds > 0:
            raise ValueError(f"expected a lifespan over 0 s, got {lifespan_seconds!r}")
        self.url = url
        self._lifespan = lifespan_seconds
        self._clock = clock
        self._lock = ProcessLock()
        self._keys: list[Jwk] | None = None
        self._loaded_at = self._asked_at = self._asked_for_kid_at = float("-inf")
        self._request: threading.Thread | None = None
        self._problem = ""

    def __repr__(self) -> str:
        return f"from_url({self.url!r}, {self._lifespan!r})"

    def __call__(self, kid: str | None) -> Jwk | None:
        """Return the key, as a JWK; None if the provider has none of this name.

        Raises:
            JwksUnavailable: it has given no keys yet.
        """
        age = self._clock() - self._loaded_at
        if age > self._lifespan:
            # A key that has just become old serves while newer ones are fetched.
            self._ask(wait=age > 2 * self._lifespan)
        if self._keys is None:
            raise JwksUnavailable(f"{self.url}: {self._problem or 'no answer in time'}")
        key = _choose(self._keys, kid)
        if key is None and kid is not None and self._may_ask_for_kid():
            self._ask(wait=True, at_once=True)
            key = _choose(self._keys, kid)
        return key

    def _may_ask_for_kid(self) -> bool:
        with self._lock:
            now = self._clock()
            if now - self._asked_for_kid_at < _UNKNOWN_KID_SECONDS:
                return False
            self._asked_for_kid_at = now
            return True

    def _ask(self, *, wait: bool, at_once: bool = False) -> None:
        """Ask the provider, unless that is under way, or has just failed."""
        with self._lock:
            now = self._clock()
            waited = now - self._asked_at
            request = self._request
            is_running = request is not None and request.is_alive() and waited < _LIMIT_SECONDS
            if not is_running:
                if waited < _RETRY_SECONDS and not at_once:
                    return
                self._asked_at, waited = now, 0.0
                request = self._request = threading.Thread(
                    target=self._fetch, name="bazis_ws.jwks", daemon=True
                )
                request.start()
        if wait and request is not None:
            # A thread, for nothing else bounds how long a server may take for its headers.
            request.join(_LIMIT_SECONDS - waited)
            if request.is_alive():
                self._failed("no answer in time")

    def _fetch(self) -> None:
        try:
            keys = _signing_keys(_download(self.url))
        except (URLError, OSError, ValueError, RecursionError) as error:
            return self._failed(str(error))
        if self._problem:
            self._problem = ""
            logger.warning("The JWK set of %s is there again.", self.url)
        self._keys, self._loaded_at = keys, self._clock()

    def _failed(self, problem: str) -> None:
        if not self._problem:
            what = "the keys it gave last go on" if self._keys else "no token can be verified"
            logger.warning("The JWK set of %s can't be had (%s): %s.", self.url, problem, what)
        self._problem = problem


def _choose(keys: list[Jwk], kid: str | None) -> Jwk | None:
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.get("kid") == kid), None)


def _download(url: str) -> bytes:
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310  # by __init__
    deadline = time.monotonic() + _LIMIT_SECONDS
    with _opener.open(request, timeout=_LIMIT_SECONDS) as answer:
        body = bytearray()
        while chunk := answer.read1(65536):
            body += chunk
            if len(body) > _LIMIT_BYTES:
                raise ValueError(f"the answer is over {_LIMIT_BYTES} bytes")
            if time.monotonic() > deadline:
                raise ValueError("no answer in time")
    return bytes(body)


def _signing_keys(body: bytes) -> list[Jwk]:
    """Return the public keys for signatures in a JWK set."""
    try:
        content = json.loads(body)
    except ValueError:
        raise ValueError(f"the answer is no JSON: {body[:60]!r}") from None
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list):
        raise ValueError("the answer is no JWK set: it has no list `keys`")
    found: list[Jwk] = [
        key
        for key in keys
        if isinstance(key, dict)
        and key.get("kty") in ("RSA", "EC")
        and key.get("use", "sig") == "sig"
    ]
    if not found:
        raise ValueError("the JWK set has no public key for signatures")
    return found


class _NoRedirects(HTTPRedirectHandler):
    """A provider's own URL is what was trusted."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none."""


_opener = build_opener(_NoRedirects)
