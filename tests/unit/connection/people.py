"""Identities, and a gate with all that is around it."""

import time

from bazis_ws_channels.auth.identity import Identity
from bazis_ws_channels.auth.tokens import Claims
from bazis_ws_channels.users import key_of


def identity(user, *, expires_in=60, issued_at=None, jti=None, django_session=False):
    """Return the identity of a user, by token unless it is a Django session's."""
    claims = None
    if not django_session:
        expires_at = int(time.time() + expires_in)
        claims = Claims(user.username, expires_at, issued_at or time.time(), jti)
    return Identity(user, key_of(user.pk), claims, time.monotonic())
