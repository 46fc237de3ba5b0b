"""JSON Web Tokens: verify and issue (`revocation` voids them).

Verification is python-jose's, fenced in as its documentation does not tell: a list of algorithms
of one family (RFC 8725, section 3.1), a length limit before parsing, ``exp`` required, and keys
made before the token is looked at, so that a broken key is our error and not the client's.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.views.decorators.debug import sensitive_variables
from jose import ExpiredSignatureError, JOSEError, jwt

from ..conf import conf
from ..exceptions import TokenError
from ..users import pk_of
from .keys import checked_algorithms, signing_key, verifying_keys

__all__ = ["Claims", "issue", "verify"]

#: Year 9999: a later ``exp`` is no date, and never meant as one.
_LAST_SECOND = 253_402_300_799


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


@sensitive_variables()
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
    keys = verifying_keys(kid, [algorithm, *algorithms])
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
    field = conf.BAZIS_WS_JWT_USER_FIELD or user.USERNAME_FIELD
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
