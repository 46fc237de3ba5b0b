"""Names of channel-layer groups and of presence keys."""

from __future__ import annotations

import hashlib
import re
from typing import Any

__all__ = ["COMMON_CHANNEL", "session_key", "user_group", "watch_group"]

#: The group of everybody with a session.
COMMON_CHANNEL = "common"

#: What every channel layer takes in a group name (channels' ``BaseChannelLayer``): ASCII
#: letters, digits, ``-_.``, under 100 characters in all. A leading dot marks a digest.
_PLAIN_PK = re.compile(r"[a-zA-Z0-9\-_][a-zA-Z0-9\-_.]{0,79}")


def _pk_name(pk: Any) -> str:
    """Return `pk` as a part of a group name, different for every two primary keys."""
    text = str(pk)
    if _PLAIN_PK.fullmatch(text):
        return text
    return "." + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def user_group(pk: Any) -> str:
    """Return the group of all connections of the user: ``user_ws.<pk>``.

    A primary key that no group name can hold (spaces, slashes, emoji, over 80 characters) is
    replaced by its SHA-256 after a dot, so that no two users ever share a group.
    """
    return f"user_ws.{_pk_name(pk)}"


def watch_group(pk: Any) -> str:
    """Return the group of the connections that watch the user's online status."""
    return f"watch_ws.{_pk_name(pk)}"


def session_key(pk: Any) -> str:
    """Return the user's presence key: ``user_ws.<pk>.session``."""
    return f"user_ws.{pk}.session"
