"""Keys that verify and sign tokens, read from the settings as python-jose needs them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables
from jose import JOSEError, jwk
from jose.backends.base import Key

from ..conf import conf
from ..exceptions import TokenError
from .jwks import from_url
from .keyring import aask_callable, ask_callable

__all__ = [
    "averifying_keys",
    "by_kid",
    "checked_algorithms",
    "construct",
    "from_url",
    "key_source",
    "signing_key",
    "verifying_keys",
]

#: Algorithms that may be accepted side by side.
_FAMILIES = (
    frozenset({"HS256", "HS384", "HS512"}),
    frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}),
)
_CURVE_BITS = {"ES256": 256, "ES384": 384, "ES512": 521}

#: Dotted path of a callable. An HS* secret of this shape must be given as bytes.
_DOTTED_PATH = re.compile(r"[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)+")


class _WrongCurve(Exception):
    """An EC key is for another algorithm."""


def checked_algorithms() -> list[str]:
    """Return the accepted algorithms.

    Raises:
        ImproperlyConfigured: one is unknown, or secrets and public keys are mixed, so that a token
            signed with the *public* key as its secret would pass (RFC 8725, section 2.1).
    """
    algorithms = conf.algorithms
    if not algorithms or not any(family.issuperset(algorithms) for family in _FAMILIES):
        raise ImproperlyConfigured(
            f"BAZIS_JWT_SESSION_ALG = {conf.BAZIS_JWT_SESSION_ALG!r}: expected algorithms of one"
            " family, HS256/384/512 or RS/ES256/384/512."
        )
    return algorithms


@sensitive_variables()
def verifying_keys(kid: str | None, algorithms: list[str]) -> list[Key]:
    """Return the keys that may have signed a token with this `kid`. Raises as `ask_callable`."""
    source = key_source()
    return _keys(ask_callable(source, kid) if callable(source) else source, kid, algorithms)


@sensitive_variables()
async def averifying_keys(kid: str | None, algorithms: list[str]) -> list[Key]:
    """Async twin of `verifying_keys`: a callable, which may wait, is asked in a thread."""
    source = key_source()
    found = await aask_callable(source, kid) if callable(source) else source
    return _keys(found, kid, algorithms)


@sensitive_variables()
def _keys(source: Any, kid: str | None, algorithms: list[str]) -> list[Key]:
    if source is None:
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return [construct(secret, algorithms) for secret in secrets]
    if isinstance(source, Mapping) and "kty" not in source:
        source = _choose(source, kid)
    return [construct(source, algorithms)]


def key_source() -> Any:
    """Return ``BAZIS_WS_JWT_KEY``, or what its dotted path names."""
    source: Any = conf.BAZIS_WS_JWT_KEY
    if not isinstance(source, str) or not _is_dotted_path(source):
        return source
    try:
        return import_string(source)
    except ImportError:
        # It may be a secret, which nobody must read in a log.
        raise ImproperlyConfigured(
            "BAZIS_WS_JWT_KEY looks like the dotted path of a callable, and can't be imported. Give"
            " a secret of that shape as bytes."
        ) from None


@sensitive_variables()
def signing_key(algorithm: str) -> tuple[str | None, Key]:
    """Return the key to sign with, and its `kid` if it has one."""
    key: Any = conf.BAZIS_WS_JWT_SIGNING_KEY
    kid = None
    if key is None and algorithm.startswith("HS"):
        key = key_source()
        key = settings.SECRET_KEY if key is None else key
        key = _own_key(key) if callable(key) else key
    if key is None:
        raise ImproperlyConfigured(
            f"Tokens are verified by {algorithm}; set BAZIS_WS_JWT_SIGNING_KEY to issue them, or"
            " get them from whoever has the private key."
        )
    if isinstance(key, Mapping) and key:
        kid, key = next(iter(by_kid(key).items()))
    return kid, construct(key, [algorithm])


@sensitive_variables()
def _own_key(source: Callable[[str | None], Any]) -> Any:
    """Return the key that a callable returns for tokens without a `kid`; None if there is none."""
    try:
        return ask_callable(source, None)
    except TokenError:
        return None


def by_kid(keys: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return ``{kid: key}``, which a JWK or a JWK set (RFC 7517, section 5) becomes too."""
    if "kty" in keys:
        return {keys.get("kid"): keys}
    if isinstance(keys.get("keys"), list | tuple):
        return {each.get("kid"): each for each in keys["keys"]}
    return keys


@sensitive_variables()
def construct(key: Any, algorithms: Sequence[str]) -> Key:
    """Return jose's key object for the first of `algorithms` that `key` fits.

    Raises:
        ImproperlyConfigured: it is empty, or a key for none of them.
    """
    for algorithm in algorithms[:-1]:
        try:
            return _construct(key, algorithm)
        except ImproperlyConfigured:
            continue  # in a list of RS* and ES*, a key fits only some of them
    return _construct(key, algorithms[-1])


def _choose(keys: Mapping[Any, Any], kid: str | None) -> Any:
    """Return the key of `kid` from ``{kid: key}`` or a JWK set."""
    keys = by_kid(keys)
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    if kid not in keys:
        raise TokenError("invalid_token", "Invalid token", "there is no key for its kid")
    return keys[kid]


@sensitive_variables()
def _construct(key: Any, algorithm: str) -> Key:
    if not key:
        raise ImproperlyConfigured("The JWT key is empty: set SECRET_KEY or BAZIS_WS_JWT_KEY.")
    if isinstance(key, Key):
        return key
    try:
        if isinstance(key, str | bytes):
            return _constructed(key, algorithm)
        return _fitting(jwk.construct(key, key.get("alg", algorithm)), algorithm)
    except _WrongCurve as error:
        raise ImproperlyConfigured(f"The JWT key is no key for {algorithm}: {error}") from None
    except (JOSEError, ValueError, TypeError, AttributeError):
        # jose's messages hold the key itself.
        kind = type(key).__name__
        raise ImproperlyConfigured(f"The JWT key, a {kind}, is no key for {algorithm}.") from None


@lru_cache(maxsize=32)
@sensitive_variables()
def _constructed(key: str | bytes, algorithm: str) -> Key:
    """Parse a key once: reading a PEM costs more than checking a signature."""
    return _fitting(jwk.construct(key, algorithm), algorithm)


def _fitting(key: Key, algorithm: str) -> Key:
    """Return `key` if it fits the algorithm: jose accepts others, and then verifies nothing."""
    curve = getattr(getattr(key, "prepared_key", None), "curve", None)
    bits = None if curve is None else curve.key_size
    expected = _CURVE_BITS.get(algorithm)
    if bits != expected:
        raise _WrongCurve(f"expected a curve of {expected} bits, got one of {bits}")
    return key


def _is_dotted_path(key: str) -> bool:
    """Tell whether a key is the dotted path of a callable."""
    return _DOTTED_PATH.fullmatch(key) is not None
