"""JSON Web Tokens: verify and issue (`ending` revokes them).

Verification is python-jose's, fenced in as its documentation does not tell: a list of algorithms
of one family (RFC 8725, section 3.1), a length limit before parsing, ``exp`` required, and keys
made before the token is looked at, so that a broken key is our error and not the client's.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from jose import ExpiredSignatureError, JOSEError, jwk, jwt
from jose.backends.base import Key

from .conf import conf
from .exceptions import TokenError
from .identity import pk_of

__all__ = [
    "Claims",
    "TokenError",
    "issue",
    "verify",
]

#: Year 9999: a later ``exp`` is no date, and never meant as one.
_LAST_SECOND = 253_402_300_799

_CURVE_BITS = {"ES256": 256, "ES384": 384, "ES512": 521}

#: A key given as the path of a callable; an HS* secret of this shape must be given as bytes.
_DOTTED_PATH = re.compile(r"[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)+")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says.

    Attributes:
        user: the value of the claim that names the user.
        expires_at: seconds since the epoch, leeway not included.
        issued_at: seconds since the epoch, or None.
        jti: the token's id, or None.
    """

    user: str | int
    expires_at: int
    issued_at: float | None
    jti: str | None


def verify(token: str) -> Claims:
    """Return the claims of a token that is signed by the right key and valid now.

    Raises:
        TokenError: ``expired_token`` if only its time has passed, else ``invalid_token``.
        ImproperlyConfigured: the settings name no usable key or algorithm.
    """
    if not isinstance(token, str) or len(token) > conf.BAZIS_WS_MAX_TOKEN_BYTES:
        raise TokenError("invalid_token", "Invalid token")
    algorithms = checked_algorithms()
    kid, algorithm = _header(token)
    if algorithm not in algorithms:
        raise TokenError("invalid_token", "Invalid token")
    keys = _verifying_keys(kid, [algorithm, *algorithms])
    try:
        claims = jwt.decode(
            token,
            keys,  # type: ignore[arg-type]  # the stubs forget that jose takes its own keys
            algorithms=algorithms,
            audience=conf.BAZIS_WS_JWT_AUDIENCE,
            issuer=conf.BAZIS_WS_JWT_ISSUER,
            options={
                "require_exp": True,
                "require_aud": conf.BAZIS_WS_JWT_AUDIENCE is not None,
                "require_iss": conf.BAZIS_WS_JWT_ISSUER is not None,
                "leeway": conf.BAZIS_WS_JWT_LEEWAY,
            },
        )
    except ExpiredSignatureError:
        raise TokenError("expired_token", "Token expired") from None
    except Exception:
        raise TokenError("invalid_token", "Invalid token") from None
    return _checked_claims(claims)


def issue(user: Any, lifetime: float | timedelta | None = None) -> str:
    """Return a token that opens a session for `user`.

    Args:
        lifetime: seconds or a timedelta; by default ``BAZIS_WS_TOKEN_LIFETIME``.

    Raises:
        ImproperlyConfigured: the settings have no key to sign with.
        ValueError: the user is not saved.
    """
    pk_of(user)
    lifetime = conf.BAZIS_WS_TOKEN_LIFETIME if lifetime is None else lifetime
    seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
    field = conf.BAZIS_WS_JWT_USER_FIELD or type(user).USERNAME_FIELD
    value = getattr(user, field)
    now = time.time()
    claims = {
        conf.BAZIS_WS_JWT_CLAIM: value if isinstance(value, int) else str(value),
        "exp": math.ceil(now + seconds),
        "iat": now,  # to the microsecond, so that `revoke_before` splits one second rightly
        "jti": uuid.uuid4().hex,
        "token_type": "access",
    }
    if isinstance(value, int) and conf.BAZIS_WS_JWT_CLAIM == "sub":
        claims["sub"] = str(value)  # RFC 7519, section 4.1.2: a string
    for claim, setting in (("aud", conf.BAZIS_WS_JWT_AUDIENCE), ("iss", conf.BAZIS_WS_JWT_ISSUER)):
        if setting is not None:
            claims[claim] = setting
    algorithm = checked_algorithms()[0]
    kid, key = signing_key(algorithm)
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def checked_algorithms() -> list[str]:
    """Return the accepted algorithms.

    Raises:
        ImproperlyConfigured: one is unknown, or they mix secrets and public keys: then a token
            signed with the *public* key as a secret would pass (RFC 8725, section 2.1).
    """
    algorithms = conf.algorithms
    known = (
        {"HS256", "HS384", "HS512"},
        {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"},
    )
    if not algorithms or not any(family.issuperset(algorithms) for family in known):
        raise ImproperlyConfigured(
            f"BAZIS_JWT_SESSION_ALG = {conf.BAZIS_JWT_SESSION_ALG!r}: expected algorithms of one"
            " family, HS256/384/512 or RS/ES256/384/512."
        )
    return algorithms


def is_dotted_path(key: str) -> bool:
    """Tell the path of a callable from a key itself."""
    return _DOTTED_PATH.fullmatch(key) is not None


def _header(token: str) -> tuple[str | None, Any]:
    """Return the key id and the algorithm of a token that nobody has verified yet."""
    try:
        header = jwt.get_unverified_header(token)
    except (JOSEError, RecursionError, AttributeError):
        raise TokenError("invalid_token", "Invalid token") from None
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise TokenError("invalid_token", "Invalid token")
    return kid, header.get("alg")


def key_may_block() -> bool:
    """Tell whether finding a key calls code of the project's, which may wait for something."""
    source = conf.BAZIS_WS_JWT_KEY
    return callable(source) or (isinstance(source, str) and is_dotted_path(source))


def _verifying_keys(kid: str | None, algorithms: list[str]) -> list[Key]:
    """Return the keys that may have signed a token with this `kid`."""
    source = key_source()
    if source is None:
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return [construct(secret, algorithms) for secret in secrets]
    if callable(source):
        source = _call(source, kid)
        if source is None:
            raise TokenError("invalid_token", "Invalid token")
    elif isinstance(source, Mapping) and "kty" not in source:
        source = _choose(source, kid)
    return [construct(source, algorithms)]


def key_source() -> Any:
    """Return ``BAZIS_WS_JWT_KEY``, or what its dotted path names."""
    source: Any = conf.BAZIS_WS_JWT_KEY
    if not isinstance(source, str) or not is_dotted_path(source):
        return source
    try:
        return import_string(source)
    except ImportError as error:
        raise ImproperlyConfigured(f"BAZIS_WS_JWT_KEY = {source!r}: {error}") from error


def _call(source: Callable[[str | None], Any], kid: str | None) -> Any:
    try:
        return source(kid)
    except Exception as error:
        raise ImproperlyConfigured(f"BAZIS_WS_JWT_KEY failed: {error!r}") from error


def _choose(keys: Mapping[Any, Any], kid: str | None) -> Any:
    """Return the key of `kid` from ``{kid: key}`` or a JWK set."""
    keys = by_kid(keys)
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    if kid not in keys:
        raise TokenError("invalid_token", "Invalid token")
    return keys[kid]


def by_kid(keys: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return ``{kid: key}``, which a JWK or a JWK set (RFC 7517, section 5) becomes too."""
    if "kty" in keys:
        return {keys.get("kid"): keys}
    if isinstance(keys.get("keys"), list | tuple):
        return {each.get("kid"): each for each in keys["keys"]}
    return keys


def construct(key: Any, algorithms: Sequence[str]) -> Key:
    """Return jose's key object for the first of `algorithms` that `key` fits.

    Raises:
        ImproperlyConfigured: it is empty, or a key for none of them.
    """
    for algorithm in algorithms[:-1]:
        try:
            return _construct(key, algorithm)
        except ImproperlyConfigured:
            continue  # in a list of RS* and ES*, a key is for some of them only
    return _construct(key, algorithms[-1])


def _construct(key: Any, algorithm: str) -> Key:
    if not key:
        raise ImproperlyConfigured("The JWT key is empty: set SECRET_KEY or BAZIS_WS_JWT_KEY.")
    if isinstance(key, Key):
        return key
    try:
        if isinstance(key, str | bytes):
            return _constructed(key, algorithm)
        return _fitting(jwk.construct(key, key.get("alg", algorithm)), algorithm)
    except (JOSEError, ValueError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"The JWT key is no key for {algorithm}: {error}") from error


@lru_cache(maxsize=32)
def _constructed(key: str | bytes, algorithm: str) -> Key:
    """Parse a key once: reading a PEM costs more than checking a signature."""
    return _fitting(jwk.construct(key, algorithm), algorithm)


def _fitting(key: Key, algorithm: str) -> Key:
    """Return `key`, unless it is of another kind: jose takes it, and then verifies nothing."""
    curve = getattr(getattr(key, "prepared_key", None), "curve", None)
    bits = None if curve is None else curve.key_size
    expected = _CURVE_BITS.get(algorithm)
    if bits != expected:
        raise JOSEError(f"expected a curve of {expected} bits, got one of {bits}")
    return key


def signing_key(algorithm: str) -> tuple[str | None, Key]:
    """Return the key to sign with, and its `kid` if it has one."""
    key: Any = conf.BAZIS_WS_JWT_SIGNING_KEY
    kid = None
    if key is None and algorithm.startswith("HS"):
        key = key_source()
        key = settings.SECRET_KEY if key is None else key
        key = _call(key, None) if callable(key) else key
    if key is None:
        raise ImproperlyConfigured(
            f"Tokens are verified by {algorithm}; set BAZIS_WS_JWT_SIGNING_KEY to issue them, or"
            " get them from whoever has the private key."
        )
    if isinstance(key, Mapping) and key:
        kid, key = next(iter(by_kid(key).items()))
    return kid, construct(key, [algorithm])


def _checked_claims(claims: Mapping[str, Any]) -> Claims:
    invalid = TokenError("invalid_token", "Invalid token")
    exp, user = claims["exp"], claims.get(conf.BAZIS_WS_JWT_CLAIM)
    issued_at, jti = claims.get("iat"), claims.get("jti")
    if isinstance(exp, bool) or not isinstance(exp, int) or exp > _LAST_SECOND:
        raise invalid
    if isinstance(user, bool) or not isinstance(user, str | int) or user == "":
        raise invalid
    if claims.get("token_type", "access") != "access":  # Simple JWT's refresh tokens
        raise invalid
    if issued_at is not None and not _is_time(issued_at):
        raise invalid
    if jti is not None and not isinstance(jti, str):
        raise invalid
    return Claims(user, exp, issued_at, jti)


def _is_time(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= _LAST_SECOND
