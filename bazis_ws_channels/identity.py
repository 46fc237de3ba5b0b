"""Users and their primary keys: as instances, as values, as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model

__all__ = ["pk_from_json", "pk_from_text", "pk_of", "pks_of", "several"]


def pk_of(user: Any) -> Any:
    """Return the primary key of `user`, which may be one already.

    Raises:
        ValueError: the user is not saved.
    """
    pk = user.pk if isinstance(user, Model) else user
    if pk is None:
        raise ValueError(f"{user!r} has no primary key: save it first.")
    return pk


def pks_of(users: Iterable[Any]) -> list[Any]:
    """Return the primary keys of `users` (instances or keys), each once, in order.

    Raises:
        ValueError: one of the users is not saved.
        TypeError: `users` is one user, not several.
    """
    return list(dict.fromkeys(pk_of(user) for user in several(users)))


def several(users: Iterable[Any]) -> list[Any]:
    """Return `users` as a list.

    Raises:
        TypeError: it is one user, not several.
    """
    if isinstance(users, Model | str | bytes):
        raise TypeError(f"expected several users, got {users!r}")
    return list(users)


def pk_from_text(text: str) -> Any:
    """Return the user model's primary key that `text` is the string of."""
    return get_user_model()._meta.pk.to_python(text)


def pk_from_json(value: Any) -> Any:
    """Return the primary key that a client named: a number, or its string.

    Raises:
        ValueError: `value` can't be a primary key.
    """
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"not a user id: {value!r:.80}")
    try:
        pk = get_user_model()._meta.pk.to_python(value)
        str(pk).encode()  # a lone surrogate names nobody
    except (ValidationError, ValueError, TypeError) as error:
        raise ValueError(f"not a user id: {value!r:.80}") from error
    return pk
