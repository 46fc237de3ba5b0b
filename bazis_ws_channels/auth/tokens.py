"""JSON Web Tokens: verify and issue (`revocation` voids them).

Signatures are verified by python-jose, with precautions that its documentation doesn't name: a list
of algorithms of one family (RFC 8725, section 3.1), a length limit before parsing, and keys
constructed before the token is decoded, so that a broken key is our error and not the client's.
What a token says is checked by `claims`.

Our *own* tokens bear a ``typ`` and an ``aud`` of this package (RFC 8725, sections 3.9 and 3.11), so
that no other JWT of the same secret passes for one, and name the user by the primary key, which is
never used again; the username stands beside it for clients to read.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.views.decorators.debug import sensitive_variables
from jose import JOSEError, jws, jwt
from jose.backends.base import Key

from ..conf import conf
from ..users import pk_of
from .claims import KEY, NAMESPACE, STAMP, Claims, checked_claims, invalid
from .credentials import stamp_of
from .keys import averifying_keys, checked_algorithms, signing_key, verifying_keys

__all__ = ["Claims", "averify", "issue", "verify"]

#: The ``typ`` of our own tokens, and their ``aud`` unless the settings name another.
_TYPE = "bazis-ws+jwt"
_AUDIENCE = "bazis-ws"


@sensitive_variables()
def verify(token: str) -> Claims:
    """Return the claims of a token. Checks signature, algorithm, times, audience and issuer.

    Raises:
        TokenError: ``expired_token`` if only its time has passed, otherwise ``invalid_token``.
        ServerBusy: the key is unknown, and too many of those have been asked for.
        ImproperlyConfigured: the settings name no usable key or algorithm.
    """
    kid, algorithms, is_own = _signature(token)
    return _claims(token, verifying_keys(kid, algorithms), is_own)


@sensitive_variables()
async def averify(token: str) -> Claims:
    """Async twin of `verify`."""
    kid, algorithms, is_own = _signature(token)
    return _claims(token, await averifying_keys(kid, algorithms), is_own)


@sensitive_variables()
def _signature(token: str) -> tuple[str | None, list[str], bool]:
    """Return a token's key id, the accepted algorithms, the token's own first, and whether the
    token is one of ours.
    """
    if not isinstance(token, str) or len(token) > conf.BAZIS_WS_MAX_TOKEN_BYTES:
        raise invalid("it is longer than BAZIS_WS_MAX_TOKEN_BYTES")
    algorithms = checked_algorithms()
    kid, algorithm, kind = _header(token)
    is_own = kind == _TYPE
    if algorithm not in algorithms:
        raise invalid("its algorithm is not in BAZIS_JWT_SESSION_ALG")
    if conf.BAZIS_WS_REQUIRE_OWN_TOKENS and not is_own:
        raise invalid("it is not of ws_token, and BAZIS_WS_REQUIRE_OWN_TOKENS is set")
    return kid, [algorithm, *algorithms], is_own


@sensitive_variables()
def _claims(token: str, keys: list[Key], is_own: bool) -> Claims:
    """Return the claims of a token that one of the keys has signed."""
    try:
        payload = jws.verify(
            token,
            keys,  # type: ignore[arg-type]  # the stubs don't know that jose takes its own keys
            checked_algorithms(),
        )
        claims = json.loads(payload.decode())
    except Exception as error:
        # jose's own words hold nothing of the token; those of others could quote it.
        why = str(error) if isinstance(error, JOSEError) else "it can't be decoded"
        raise invalid(why) from None
    audience = _own_audience() if is_own else conf.BAZIS_WS_JWT_AUDIENCE
    return checked_claims(claims, audience, is_own=is_own)


@sensitive_variables()
def issue(user: Any, lifetime: float | timedelta | None = None) -> str:
    """Return a token that opens a session for `user`.

    Args:
        lifetime: seconds or a timedelta; by default ``BAZIS_WS_TOKEN_LIFETIME``.

    Raises:
        ImproperlyConfigured: the settings have no key to sign with.
        ValueError: the user is not saved.

    The token is void when the user gets a new password (``BAZIS_WS_END_ON_PASSWORD_CHANGE``).
    """
    pk = pk_of(user)
    lifetime = conf.BAZIS_WS_TOKEN_LIFETIME if lifetime is None else lifetime
    seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
    field = conf.BAZIS_WS_JWT_USER_FIELD or user.USERNAME_FIELD
    value = _as_json(getattr(user, field))
    now = time.time()
    claims = {
        # RFC 7519, section 4.1.2: `sub` is a string
        conf.BAZIS_WS_JWT_CLAIM: str(value) if conf.BAZIS_WS_JWT_CLAIM == "sub" else value,
        "exp": math.ceil(now + seconds),
        "iat": now,  # to the microsecond, so that `revoke_before` is exact within a second
        "jti": uuid.uuid4().hex,
        "token_type": "access",
        "aud": _own_audience(),
        KEY: _as_json(pk),
        STAMP: stamp_of(user),
    }
    if conf.BAZIS_WS_JWT_ISSUER is not None:
        claims["iss"] = conf.BAZIS_WS_JWT_ISSUER
    if conf.namespace:
        claims[NAMESPACE] = conf.namespace
    algorithm = checked_algorithms()[0]
    kid, key = signing_key(algorithm)
    headers = {"typ": _TYPE} if kid is None else {"typ": _TYPE, "kid": kid}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def _own_audience() -> str:
    return conf.BAZIS_WS_JWT_AUDIENCE or _AUDIENCE


def _as_json(value: Any) -> str | int:
    return value if isinstance(value, int) else str(value)


@sensitive_variables()
def _header(token: str) -> tuple[str | None, Any, Any]:
    """Return key id, algorithm and type of a token that nobody has verified yet."""
    segment = token.partition(".")[0]
    try:
        header = _decoded_header(segment)
    except (JOSEError, RecursionError):
        raise invalid(f"it is no JWT{_and_not_anonymous()}") from None
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise invalid("its kid is no string")
    return kid, header.get("alg"), header.get("typ")


@lru_cache(maxsize=64)
def _decoded_header(segment: str) -> Mapping[str, Any]:
    """Return a JWT's header, decoded once for all tokens of an issuer: most have the same."""
    return jwt.get_unverified_header(f"{segment}..")


def _and_not_anonymous() -> str:
    if conf.BAZIS_WS_ANONYMOUS:
        return ", nor of 16 to 128 of A-Z a-z 0-9 _ -"
    return ", and BAZIS_WS_ANONYMOUS is off"
