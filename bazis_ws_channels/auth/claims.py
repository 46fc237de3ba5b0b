"""Which claims of a token are good (RFC 7519, section 4.1). No I/O.

python-jose could check the registered ones, but would decode the token twice more for that. What it
refuses is refused here too: a test compares the two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..conf import conf
from ..exceptions import TokenError

__all__ = ["KEY", "NAMESPACE", "STAMP", "Claims", "checked_claims", "invalid"]

#: Claims of our own tokens: the primary key, the namespace, the stamp of the credentials.
KEY, NAMESPACE, STAMP = "uid", "ns", "stamp"
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


def checked_claims(claims: Any, audience: str | None, *, is_own: bool) -> Claims:
    """Return the claims of a token whose signature is good, if they are good too.

    Args:
        claims: what the token's payload holds.
        audience: who they must be for; None: nobody in particular.
        is_own: whether the token is one of `tokens.issue`.

    Raises:
        TokenError: ``expired_token`` if only its time has passed, otherwise ``invalid_token``.
    """
    if not isinstance(claims, Mapping):
        raise invalid("its payload is no object")
    _check_times(claims)
    _check_parties(claims, audience)
    exp, user = claims["exp"], claims.get(conf.BAZIS_WS_JWT_CLAIM)
    issued_at, jti = claims.get("iat"), claims.get("jti")
    if isinstance(exp, bool) or not isinstance(exp, int) or exp > _LAST_SECOND:
        raise invalid("its exp is no time")
    if isinstance(user, bool) or not isinstance(user, str | int) or user == "":
        raise invalid(f"no user in the claim {conf.BAZIS_WS_JWT_CLAIM!r} (BAZIS_WS_JWT_CLAIM)")
    if claims.get("token_type", "access") != "access":  # Simple JWT's refresh tokens
        raise invalid("its token_type is not access")
    if issued_at is not None and not _is_past(issued_at):
        raise invalid("its iat is no time that has come")
    if not is_own:
        return Claims(user, exp, issued_at, jti)
    key, stamp = claims.get(KEY), claims.get(STAMP)
    if isinstance(key, bool) or not isinstance(key, str | int) or not isinstance(stamp, str):
        raise invalid("its typ is that of ws_token, its claims are not")
    if claims.get(NAMESPACE, "") != conf.namespace:  # of another tenant, whose keys repeat
        raise invalid("it is of another BAZIS_WS_NAMESPACE")
    return Claims(user, exp, issued_at, jti, key, stamp)


def _check_times(claims: Mapping[str, Any]) -> None:
    """Check that the token's time has come, and has not passed."""
    if "exp" not in claims:
        raise invalid("it has no exp")
    now, leeway = int(time.time()), conf.BAZIS_WS_JWT_LEEWAY
    if "iat" in claims:
        _second(claims, "iat")
    if "nbf" in claims and _second(claims, "nbf") > now + leeway:
        raise invalid("its nbf has not come")
    if _second(claims, "exp") < now - leeway:
        raise TokenError("expired_token", "Token expired")


def _second(claims: Mapping[str, Any], name: str) -> int:
    """Return a time in whole seconds since the epoch."""
    try:
        return int(claims[name])
    except (ValueError, TypeError, OverflowError):
        raise invalid(f"its {name} is no time") from None


def _check_parties(claims: Mapping[str, Any], audience: str | None) -> None:
    """Check whose token it is, and whom it is for."""
    if ("aud" in claims or audience is not None) and not _is_for(audience, claims.get("aud")):
        raise invalid("its aud is not BAZIS_WS_JWT_AUDIENCE")
    issuer = conf.BAZIS_WS_JWT_ISSUER
    if issuer is not None and claims.get("iss") not in _several(issuer):
        raise invalid("its iss is not BAZIS_WS_JWT_ISSUER")
    for name in ("sub", "jti"):
        if not isinstance(claims.get(name, ""), str):
            raise invalid(f"its {name} is no string")
    if "at_hash" in claims:
        raise invalid("it goes with an access token (at_hash)")


def _is_for(audience: str | None, given: Any) -> bool:
    named = _several(given)
    return all(isinstance(each, str) for each in named) and audience in named


def _several(value: Any) -> Sequence[Any]:
    """Return the names in a claim or a setting that may hold one or several."""
    return value if isinstance(value, list | tuple) else [value]


def invalid(why: str) -> TokenError:
    """Return the error of an invalid token; `why` is for the log, and holds nothing of it."""
    return TokenError("invalid_token", "Invalid token", why)


def _is_past(value: Any) -> bool:
    """Tell whether `value` is a time that has come, as far as hosts' clocks agree: a token from
    the future could not be revoked by a moment.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return 0 <= value <= time.time() + max(_CLOCK_SECONDS, conf.BAZIS_WS_JWT_LEEWAY)
