"""Names of channel-layer groups and of presence keys."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from .conf import conf
from .users import key_of

__all__ = [
    "COMMON_CHANNEL",
    "anonymous_group",
    "anonymous_key",
    "common_group",
    "is_anonymous",
    "key_group",
    "session_key",
    "user_group",
    "watch_group",
]

#: The group of everybody with a session.
COMMON_CHANNEL = "common"
#: How the groups of anonymous sessions begin.
_ANONYMOUS = "anonymous_ws."

#: What every channel layer takes in a group name (channels' ``BaseChannelLayer``): ASCII
#: letters, digits, ``-_.``, under 100 characters in all. A leading dot marks a digest.
_PLAIN_KEY = re.compile(r"[a-zA-Z0-9\-_][a-zA-Z0-9\-_.]{0,79}")


def user_group(pk: Any) -> str:
    """Return the group of all connections of the user: ``user_ws.<pk>``.

    A primary key that no group name can hold (spaces, slashes, emoji, over 80 characters), or
    one in a namespace, is replaced by its SHA-256 after a dot, so that no two users ever share
    a group.
    """
    return key_group(key_of(pk))


def key_group(key: str) -> str:
    """Return the group of all connections of the user with this key."""
    return f"user_ws.{_name(key)}"


def anonymous_key(token: str) -> str:
    """Return the key of the anonymous sessions of a token, in the current namespace: a digest, for
    the token is a secret, and the key gets into names at Redis.
    """
    return key_of(hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest())


def anonymous_group(key: str) -> str:
    """Return the group of the anonymous sessions with this key: never a user's."""
    return f"{_ANONYMOUS}{_name(key)}"


def is_anonymous(group: str) -> bool:
    """Tell whether a group is one of anonymous sessions."""
    return group.startswith(_ANONYMOUS)


def watch_group(key: str) -> str:
    """Return the group of the connections that watch the online status of a user, by key."""
    return f"watch_ws.{_name(key)}"


def common_group(namespace: str | None = None) -> str:
    """Return the group of everybody with a session in a namespace, by default the current one."""
    namespace = conf.namespace if namespace is None else namespace
    return f"{COMMON_CHANNEL}.{namespace}" if namespace else COMMON_CHANNEL


def session_key(pk: Any) -> str:
    """Return the user's presence key: ``user_ws.<pk>.session``."""
    return f"user_ws.{key_of(pk)}.session"


def _name(key: str) -> str:
    """Return `key` as a part of a group name, different for every two keys."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    return "." + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
