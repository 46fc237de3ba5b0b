"""JSON Web Tokens: verify, issue, revoke.

Verification is python-jose's, fenced in as its documentation does not tell: a list of algorithms
of one family (RFC 8725, section 3.1), a length limit before parsing, ``exp`` required, and keys
made before the token is looked at, so that a broken key is our error and not the client's.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from jose import ExpiredSignatureError, JOSEError, jwk, jwt
from jose.backends.base import Key

from .conf import conf
from .exceptions import TokenError
from .identity import pk_of
from .presence.store import ask

__all__ = [
    "Claims",
    "TokenError",
    "arevoke_before",
    "arevoke_token",
    "issue",
    "revoke_before",
    "revoke_token",
    "verify",
]

#: Year 9999: a later ``exp`` is no date, and never meant as one.
_LAST_SECOND = 253_402_300_799

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
    keys = _verifying_keys(_kid(token), algorithms[0])
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
    return jwt.encode(claims, _signing_key(algorithm), algorithm=algorithm)


def revoke_before(user: Any, moment: float | None = None) -> None:
    """Refuse all tokens of `user` that were issued before `moment`, from now on.

    Sessions that are open go on; `UserWsMixin.ws_disconnect` ends them too. A token without
    ``iat`` counts as issued before.

    Args:
        moment: seconds since the epoch; now by default.

    Raises:
        PresenceUnavailable: the store is out of reach.
    """
    ask("revoke_before", *_revocation(user, moment))


def revoke_token(token: str) -> None:
    """Refuse this one token from now on, until it would have expired.

    Raises:
        TokenError: it is not valid, or has no ``jti`` to know it by.
        PresenceUnavailable: the store is out of reach.
    """
    claims = verify(token)
    if claims.jti is None:
        raise TokenError("invalid_token", "A token without jti can't be revoked alone.")
    left = claims.expires_at + conf.BAZIS_WS_JWT_LEEWAY - time.time()
    ask("revoke_token", claims.jti, max(1, math.ceil(left)))


arevoke_before = sync_to_async(revoke_before)
arevoke_token = sync_to_async(revoke_token)


def _revocation(user: Any, moment: float | None) -> tuple[str, int, int]:
    before = int((time.time() if moment is None else moment) * 1_000_000)
    return str(pk_of(user)), before, int(conf.BAZIS_WS_REVOCATION_SECONDS)


def checked_algorithms() -> list[str]:
    """Return the accepted algorithms.

    Raises:
        ImproperlyConfigured: one is unknown, or they mix secrets and public keys: then a token
            signed with the *public* key as a secret would pass (RFC 8725, section 2.1).
    """
    algorithms = conf.algorithms
    known = (
        {"HS256", "HS384", "HS512"},
        {
            *("RS256", "RS384", "RS512", "ES256", "ES384", "ES512"),
            *("PS256", "PS384", "PS512"),
        },
    )
    if not algorithms or not any(family.issuperset(algorithms) for family in known):
        raise ImproperlyConfigured(
            f"BAZIS_JWT_SESSION_ALG = {conf.BAZIS_JWT_SESSION_ALG!r}: expected algorithms of one"
            " family, HS256/384/512 or RS/PS/ES256/384/512."
        )
    return algorithms


def is_dotted_path(key: str) -> bool:
    """Tell the path of a callable from a key itself."""
    return _DOTTED_PATH.fullmatch(key) is not None


def _kid(token: str) -> str | None:
    """Return the key id of a token that nobody has verified yet."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (JOSEError, RecursionError, AttributeError):
        raise TokenError("invalid_token", "Invalid token") from None
    if kid is not None and not isinstance(kid, str):
        raise TokenError("invalid_token", "Invalid token")
    return kid


def _verifying_keys(kid: str | None, algorithm: str) -> list[Key]:
    """Return the keys that may have signed a token with this `kid`."""
    source: Any = conf.BAZIS_WS_JWT_KEY
    if source is None:
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return [construct(secret, algorithm) for secret in secrets]
    if isinstance(source, str) and is_dotted_path(source):
        source = import_string(source)
    if callable(source):
        try:
            source = source(kid)
        except Exception as error:
            raise ImproperlyConfigured(f"BAZIS_WS_JWT_KEY failed: {error!r}") from error
        if source is None:
            raise TokenError("invalid_token", "Invalid token")
    elif isinstance(source, Mapping) and "kty" not in source:
        source = _choose(source, kid)
    return [construct(source, algorithm)]


def _choose(keys: Mapping[Any, Any], kid: str | None) -> Any:
    """Return the key of `kid` from ``{kid: key}`` or a JWK set (RFC 7517, section 5)."""
    if isinstance(keys.get("keys"), list | tuple):
        keys = {each.get("kid"): each for each in keys["keys"]}
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    if kid not in keys:
        raise TokenError("invalid_token", "Invalid token")
    return keys[kid]


def construct(key: Any, algorithm: str) -> Key:
    """Return jose's key object.

    Raises:
        ImproperlyConfigured: it is empty, or no key for this algorithm.
    """
    if not key:
        raise ImproperlyConfigured("The JWT key is empty: set SECRET_KEY or BAZIS_WS_JWT_KEY.")
    if isinstance(key, Key):
        return key
    try:
        if isinstance(key, str | bytes):
            return _constructed(key, algorithm)
        return jwk.construct(key, key.get("alg", algorithm))
    except (JOSEError, ValueError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"The JWT key is no key for {algorithm}: {error}") from error


@lru_cache(maxsize=32)
def _constructed(key: str | bytes, algorithm: str) -> Key:
    """Parse a key once: reading a PEM costs more than checking a signature."""
    return jwk.construct(key, algorithm)


def _signing_key(algorithm: str) -> Key:
    key: Any = conf.BAZIS_WS_JWT_SIGNING_KEY
    if key is None and algorithm.startswith("HS"):
        return _verifying_keys(None, algorithm)[0]
    if key is None:
        raise ImproperlyConfigured(
            f"Tokens are verified by {algorithm}; set BAZIS_WS_JWT_SIGNING_KEY to issue them, or"
            " get them from whoever has the private key."
        )
    return construct(key, algorithm)


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
