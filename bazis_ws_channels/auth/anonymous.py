"""Sessions without a user: a random token that the client makes for itself."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time

from django.contrib.auth.models import AnonymousUser
from django.views.decorators.debug import sensitive_variables

from ..conf import conf
from ..groups import anonymous_key
from ..users import in_space
from .identity import Identity

__all__ = ["aanonymous_identity", "checked", "is_anonymous"]

#: A JWT has dots, so it is never one of these.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
#: How base64url begins a JSON object.
_OBJECT = "eyJ"


@sensitive_variables()
def is_anonymous(token: str) -> bool:
    """Tell whether a token is to open an anonymous session: the settings allow those, and it is a
    string of a client's own.
    """
    return conf.BAZIS_WS_ANONYMOUS and _is_own_string(token)


@sensitive_variables()
def checked(token: str) -> str:
    """Return a token that may open an anonymous session.

    Raises:
        TypeError: it is no string.
        ValueError: it can't open one. The message does not show it.
    """
    if not isinstance(token, str):
        raise TypeError(f"expected the token of an anonymous session, got {type(token).__name__}")
    if not _is_own_string(token):
        raise ValueError(
            "Not a token of an anonymous session: it takes 16 to 128 of A-Z, a-z, 0-9, '_', '-'."
        )
    return token


@sensitive_variables()
async def aanonymous_identity(token: str) -> Identity:
    """Return the identity of an anonymous token, in the current namespace."""
    key = await in_space(anonymous_key, token)
    return Identity(AnonymousUser(), key, None, time.monotonic(), is_anonymous=True)


def _is_own_string(token: str) -> bool:
    return _TOKEN.fullmatch(token) is not None and not _is_part_of_jwt(token)


def _is_part_of_jwt(token: str) -> bool:
    """Tell whether a token is the header or the payload of a JWT: all clients with the same bug,
    which send no more than that, would share one session's messages.
    """
    if not token.startswith(_OBJECT):
        return False
    try:
        padded = token + "=" * (-len(token) % 4)
        return isinstance(json.loads(base64.urlsafe_b64decode(padded)), dict)
    except (ValueError, binascii.Error, RecursionError):
        return False
