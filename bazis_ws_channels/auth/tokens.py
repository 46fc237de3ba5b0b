"""JSON Web Tokens: verify and issue (`revocation` voids them).

Verification is python-jose's, with precautions that its documentation doesn't name: a list of
algorithms of one family (RFC 8725, section 3.1), a length limit before parsing, ``exp`` required,
and keys constructed before the token is decoded, so that a broken key is our error and not the
client's.

Our *own* tokens bear a ``typ`` and an ``aud`` of this package (RFC 8725, sections 3.9 and 3.11), so
that no other JWT of the same secret passes for one, and name the user by the primary key, which is
never used again; the username stands beside it for clients to read.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.views.decorators.debug import sensitive_variables
from jose import ExpiredSignatureError, JOSEError, jwt
from jose.backends.base import Key

from ..conf import conf
from ..exceptions import TokenError
from ..users import pk_of
from .credentials import stamp_of
from .keys import averifying_keys, checked_algorithms, signing_key, verifying_keys

__all__ = ["Claims", "averify", "issue", "verify"]

#: The ``typ`` of our own tokens, and their ``aud`` unless the settings name another.
_TYPE = "bazis-ws+jwt"
_AUDIENCE = "bazis-ws"
#: Claims of our own tokens: the primary key, the namespace, the stamp of the credentials.
_KEY, _NAMESPACE, _STAMP = "uid", "ns", "stamp"
#: How far in the future an ``iat`` may be, for hosts' clocks differ.
_CLOCK_SECONDS = 30
#: End of the year 9999: datetime can't hold a later ``exp``.
_LAST_SECOND = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token.

    Attributes:
        user: the value of the claim that names the user.
        expires_at: seconds since the epoch, leeway not included.
        issued_at: seconds since the epoch, or None.
        jti: the token's id, or None.
        key: the user's primary key, as JSON has it; None unless the token is our own.
        stamp: of the credentials when it was issued; None unless the token is our own.
    """

    user: str | int
    expires_at: int
    issued_at: float | None
    jti: str | None
    key: str | int | None = None
    stamp: str | None = field(default=None, repr=False)


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
        raise _invalid("it is longer than BAZIS_WS_MAX_TOKEN_BYTES")
    algorithms = checked_algorithms()
    kid, algorithm, kind = _header(token)
    is_own = kind == _TYPE
    if algorithm not in algorithms:
        raise _invalid("its algorithm is not in BAZIS_JWT_SESSION_ALG")
    if conf.BAZIS_WS_REQUIRE_OWN_TOKENS and not is_own:
        raise _invalid("it is not of ws_token, and BAZIS_WS_REQUIRE_OWN_TOKENS is set")
    return kid, [algorithm, *algorithms], is_own


@sensitive_variables()
def _claims(token: str, keys: list[Key], is_own: bool) -> Claims:
    """Return the claims of a token that one of the keys has signed."""
    audience = _own_audience() if is_own else conf.BAZIS_WS_JWT_AUDIENCE
    try:
        claims = jwt.decode(
            token,
            keys,  # type: ignore[arg-type]  # the stubs don't know that jose takes its own keys
            algorithms=checked_algorithms(),
            audience=audience,
            issuer=conf.BAZIS_WS_JWT_ISSUER,
            options={
                "require_exp": True,
                "require_aud": audience is not None,
                "require_iss": conf.BAZIS_WS_JWT_ISSUER is not None,
                "leeway": conf.BAZIS_WS_JWT_LEEWAY,
            },
        )
    except ExpiredSignatureError:
        raise TokenError("expired_token", "Token expired") from None
    except Exception as error:
        # jose's own words name claims; those of others could quote the token.
        why = str(error) if isinstance(error, JOSEError) else "it can't be decoded"
        raise _invalid(why) from None
    return _checked_claims(claims, is_own=is_own)


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
        _KEY: _as_json(pk),
        _STAMP: stamp_of(user),
    }
    if conf.BAZIS_WS_JWT_ISSUER is not None:
        claims["iss"] = conf.BAZIS_WS_JWT_ISSUER
    if conf.namespace:
        claims[_NAMESPACE] = conf.namespace
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
        raise _invalid(f"it is no JWT{_and_not_anonymous()}") from None
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _invalid("its kid is no string")
    return kid, header.get("alg"), header.get("typ")


@lru_cache(maxsize=64)
def _decoded_header(segment: str) -> Mapping[str, Any]:
    """Return a JWT's header, decoded once for all tokens of an issuer: most have the same."""
    return jwt.get_unverified_header(f"{segment}..")


def _checked_claims(claims: Mapping[str, Any], *, is_own: bool) -> Claims:
    exp, user = claims["exp"], claims.get(conf.BAZIS_WS_JWT_CLAIM)
    issued_at, jti = claims.get("iat"), claims.get("jti")
    if isinstance(exp, bool) or not isinstance(exp, int) or exp > _LAST_SECOND:
        raise _invalid("its exp is no time")
    if isinstance(user, bool) or not isinstance(user, str | int) or user == "":
        raise _invalid(f"no user in the claim {conf.BAZIS_WS_JWT_CLAIM!r} (BAZIS_WS_JWT_CLAIM)")
    if claims.get("token_type", "access") != "access":  # Simple JWT's refresh tokens
        raise _invalid("its token_type is not access")
    if issued_at is not None and not _is_past(issued_at):
        raise _invalid("its iat is no time that has come")
    if jti is not None and not isinstance(jti, str):
        raise _invalid("its jti is no string")
    if not is_own:
        return Claims(user, exp, issued_at, jti)
    key, stamp = claims.get(_KEY), claims.get(_STAMP)
    if isinstance(key, bool) or not isinstance(key, str | int) or not isinstance(stamp, str):
        raise _invalid("its typ is that of ws_token, its claims are not")
    if claims.get(_NAMESPACE, "") != conf.namespace:  # of another tenant, whose keys repeat
        raise _invalid("it is of another BAZIS_WS_NAMESPACE")
    return Claims(user, exp, issued_at, jti, key, stamp)


def _and_not_anonymous() -> str:
    if conf.BAZIS_WS_ANONYMOUS:
        return ", nor of 16 to 128 of A-Z a-z 0-9 _ -"
    return ", and BAZIS_WS_ANONYMOUS is off"


def _invalid(why: str) -> TokenError:
    return TokenError("invalid_token", "Invalid token", why)


def _is_past(value: Any) -> bool:
    """Tell whether `value` is a time that has come, as far as hosts' clocks agree: a token from
    the future could not be revoked by a moment.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return 0 <= value <= time.time() + max(_CLOCK_SECONDS, conf.BAZIS_WS_JWT_LEEWAY)
