"""Users and their keys: as instances, as primary keys, as text.

A user's *key* is the text by which presence and groups know the user: the primary key, behind
the namespace where the project has several user spaces (``BAZIS_WS_NAMESPACE``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model

from .conf import conf

__all__ = [
    "in_namespace",
    "key_of",
    "namespace_of",
    "pk_from_json",
    "pk_from_key",
    "pk_of",
    "pks_of",
    "several",
]

_SEPARATOR = "|"


def pk_of(user: Any) -> Any:
    """Return the primary key of `user`, an instance of the user model or a key already.

    Raises:
        TypeError: `user` is something else: an instance of another model, an anonymous user, a
            tuple, a value that the primary key's field can't hold.
        ValueError: the user is not saved.
    """
    return _pk_of(user, get_user_model())


def pks_of(users: Iterable[Any]) -> list[Any]:
    """Return the primary keys of `users` (instances or keys), each once, in order.

    Raises:
        TypeError, ValueError: as `pk_of`; or `users` is one user, not several.
    """
    model = get_user_model()
    return list(dict.fromkeys(_pk_of(user, model) for user in several(users)))


def several(users: Iterable[Any]) -> list[Any]:
    """Return `users` as a list.

    Raises:
        TypeError: it is one user, not several.
    """
    if isinstance(users, Model | str | bytes) or not isinstance(users, Iterable):
        raise TypeError(f"expected several users, got {users!r:.80}")
    return list(users)


def key_of(pk: Any) -> str:
    """Return the key of the user with this primary key, in the current namespace."""
    namespace, text = conf.namespace, str(pk)
    if namespace or _SEPARATOR in text:
        return f"{namespace}{_SEPARATOR}{text}"
    return text


def namespace_of(key: str) -> str:
    """Return the namespace of a key; empty without one."""
    return _split(key)[0]


def in_namespace(key: str) -> bool:
    """Tell whether a key is one of the current namespace."""
    return namespace_of(key) == conf.namespace


def pk_from_key(key: str) -> Any:
    """Return the primary key that `key` stands for."""
    _, text = _split(key)
    return get_user_model()._meta.pk.to_python(text)


def pk_from_json(value: Any) -> Any:
    """Return the primary key that a client named: a number, or its string.

    Raises:
        ValueError: `value` can't be a primary key.
    """
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"not a user id: {value!r:.80}")
    try:
        return _checked(value, get_user_model()._meta.pk)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"not a user id: {value!r:.80}") from error


def _pk_of(user: Any, model: Any) -> Any:
    field = model._meta.pk
    if isinstance(user, Model):
        if not isinstance(user, model):
            raise TypeError(f"expected a {model.__name__}, got {type(user).__name__}: {user!r:.80}")
        if user.pk is None:
            raise ValueError(f"{user!r} has no primary key: save it first.")
        return field.to_python(user.pk)
    if user is None:
        raise ValueError("None has no primary key: save the user first.")
    if isinstance(user, bool | float | tuple | list | dict | set) or hasattr(user, "is_anonymous"):
        raise TypeError(f"expected a {model.__name__} or its primary key, got {user!r:.80}")
    try:
        return _checked(user, field)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        raise TypeError(f"{user!r:.80} is no primary key of {model.__name__}") from error


def _checked(value: Any, field: Any) -> Any:
    """Return `value` as `field` has it; raise if the field, or UTF-8, can't hold it."""
    if type(value) is int and -(2**31) <= value < 2**31 and field.get_internal_type() in _INTEGERS:
        return value
    pk = field.to_python(value)
    str(pk).encode()  # a lone surrogate names nobody
    field.run_validators(pk)
    return pk


#: Fields that hold every integer of 32 bits: no need to run their validators.
_INTEGERS = frozenset({"AutoField", "BigAutoField", "IntegerField", "BigIntegerField"})


def _split(key: str) -> tuple[str, str]:
    namespace, separator, text = key.partition(_SEPARATOR)
    return (namespace, text) if separator else ("", key)
