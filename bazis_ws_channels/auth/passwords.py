"""Whether saving a user has changed the password: by the hash that the instance was loaded with."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Any

__all__ = ["Saved", "remember_password", "what_was_saved"]

#: In the instance's `__dict__`: the hash in the database, as far as the instance knows.
_KNOWN = "_ws_known_password"
#: And whether `set_password` has been used on it.
_WAS_SET = "_ws_password_was_set"


def remember_password(instance: Any) -> None:
    """Note that the database holds the instance's hash."""
    known = vars(instance)
    if "password" in known:  # else it is deferred
        known[_KNOWN] = known["password"]


class Saved(Enum):
    """What a save has done to the password."""

    SAME = 1
    CHANGED = 2
    #: The hash was replaced at a log-in, since the hashers have changed; the password is the same.
    REHASHED = 3


def what_was_saved(instance: Any, update_fields: Collection[str] | None) -> tuple[Saved, str]:
    """Return what a save has done, and the former hash, empty if unknown; called once a save."""
    known = vars(instance)
    if "password" not in known or (update_fields is not None and "password" not in update_fields):
        return Saved.SAME, ""
    former, is_rehashed = known.get(_KNOWN, ""), _is_rehashed(known, update_fields)
    remember_password(instance)
    if former == known["password"]:
        return Saved.SAME, former
    return (Saved.REHASHED if is_rehashed else Saved.CHANGED), former


def _is_rehashed(known: dict[str, Any], update_fields: Collection[str] | None) -> bool:
    """Tell whether the save comes from `check_password`: that calls `set_password`, forgets the raw
    password (``_password = None``) and saves the field alone.

    An instance on which a password was set and saved before looks the same later on; there a
    change always counts as one.
    """
    if known.get("_password") is not None:
        known[_WAS_SET] = True
    return (
        set(update_fields or ()) == {"password"}
        and "_password" in known
        and known["_password"] is None
        and not known.get(_WAS_SET)
    )
