"""The public functions of authentication: identify users, end sessions, void tokens."""

from ..exceptions import AuthenticationFailed
from .identity import authenticate, user_from_token
from .revocation import (
    adisconnect,
    arevoke_before,
    arevoke_token,
    disconnect,
    revoke_before,
    revoke_token,
)
from .tokens import issue

__all__ = [
    "AuthenticationFailed",
    "adisconnect",
    "arevoke_before",
    "arevoke_token",
    "authenticate",
    "disconnect",
    "issue",
    "revoke_before",
    "revoke_token",
    "user_from_token",
]
