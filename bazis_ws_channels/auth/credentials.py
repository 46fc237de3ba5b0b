"""The stamp of a user's credentials: a new password changes it, and so voids what carries it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

__all__ = ["is_stamp_of", "stamp_of"]

_SALT = "bazis_ws_channels.auth.credentials"


def stamp_of(user: Any) -> str:
    """Return the stamp of the user's credentials as they are now: 32 hex digits, from which
    nothing can be learned.

    It is made of ``user.get_session_auth_hash()``, which projects override where more than the
    password should end sessions. Empty for a user model without that method.
    """
    return next(_stamps(user), "")


def is_stamp_of(user: Any, stamp: str) -> bool:
    """Tell whether `stamp` was made of the user's credentials as they are now, with SECRET_KEY or
    one of SECRET_KEY_FALLBACKS.
    """
    stamps = list(_stamps(user))
    return not stamps or any(constant_time_compare(stamp, each) for each in stamps)


def _stamps(user: Any) -> Iterator[str]:
    """Yield the stamp with each secret, the current one first."""
    get_hash = getattr(user, "get_session_auth_hash", None)
    if get_hash is None:
        return
    yield _digest(get_hash(), settings.SECRET_KEY)
    get_former = getattr(user, "get_session_auth_fallback_hash", None)
    if settings.SECRET_KEY_FALLBACKS and get_former is not None:
        for former, secret in zip(get_former(), settings.SECRET_KEY_FALLBACKS, strict=False):
            yield _digest(former, secret)


def _digest(auth_hash: str, secret: str | bytes) -> str:
    return salted_hmac(_SALT, auth_hash, secret=secret, algorithm="sha256").hexdigest()[:32]
