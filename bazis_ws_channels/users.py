"""Users and their keys: instances, primary keys, and keys as text.

A user's *key* is the text that names the user in presence and groups: the primary key, prefixed
by the namespace if the project has several user spaces (``BAZIS_WS_NAMESPACE``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.db.models import Model, QuerySet

from .conf import conf

__all__ = [
    "allowed_to_watch",
    "aseveral",
    "in_space",
    "key_of",
    "keys_of",
    "keys_of_users",
    "namespace_of",
    "own_keys",
    "pk_from_json",
    "pk_from_key",
    "pk_of",
    "pks_of",
    "several",
]

_SEPARATOR = "|"

T = TypeVar("T")

#: The user model, which is looked up once.
_user_model = cache(get_user_model)


def _forget_model(*, setting: str, **kwargs: Any) -> None:
    if setting == "AUTH_USER_MODEL":
        _user_model.cache_clear()


setting_changed.connect(_forget_model, dispatch_uid="bazis_ws_channels.user_model")


def pk_of(user: Any) -> Any:
    """Return the primary key of `user`, an instance of the user model or a key already.

    Raises:
        TypeError: `user` is something else: an instance of another model, an anonymous user, a
            tuple, a value that the primary key's field can't hold.
        ValueError: the user is not saved.
    """
    return _pk_of(user, _user_model())


def pks_of(users: Iterable[Any]) -> list[Any]:
    """Return the primary keys of `users` (instances or keys), each once, in order.

    Raises:
        TypeError, ValueError: as `pk_of`; or `users` is one user, not several.
    """
    model = _user_model()
    return list(dict.fromkeys(_pk_of(user, model) for user in several(users)))


def keys_of_users(users: Iterable[Any]) -> list[str]:
    """Return the keys of `users` (instances or primary keys), in order.

    Raises:
        TypeError, ValueError: as `pk_of`.
    """
    model, namespace = _user_model(), conf.namespace
    return [key_of(_pk_of(user, model), namespace) for user in users]


def several(users: Iterable[Any]) -> list[Any]:
    """Return `users` as a list.

    Raises:
        TypeError: it is one user, not several.
    """
    if isinstance(users, list):  # as a rule; the questions below are slow
        return list(users)
    if isinstance(users, Model | str | bytes) or not isinstance(users, Iterable):
        raise TypeError(f"expected several users, got {users!r:.80}")
    return list(users)


async def aseveral(users: Iterable[Any]) -> list[Any]:
    """Async twin of `several`: what may ask the database does so where the ORM may."""
    if isinstance(users, QuerySet):
        return [user async for user in users]
    if isinstance(users, Sequence | set | frozenset):
        return several(users)
    return await sync_to_async(several)(users)


async def in_space(function: Callable[..., T], *args: Any) -> T:
    """Call `function`, which makes keys, where the current namespace is known.

    A callable ``BAZIS_WS_NAMESPACE`` asks the database connection, as a rule, and that is the
    one of the thread where async code runs its ORM. Without one nothing waits for a thread.
    """
    if conf.namespace_is_fixed:
        return function(*args)
    return await sync_to_async(function)(*args)


def key_of(pk: Any, namespace: str | None = None) -> str:
    """Return the key of the user with this primary key in a namespace, by default the current."""
    namespace, text = conf.namespace if namespace is None else namespace, str(pk)
    if namespace or _SEPARATOR in text:
        return f"{namespace}{_SEPARATOR}{text}"
    return text


def keys_of(pks: Iterable[Any]) -> list[str]:
    """Return the keys of the users with these primary keys, in the current namespace."""
    namespace = conf.namespace
    return [key_of(pk, namespace) for pk in pks]


def namespace_of(key: str) -> str:
    """Return the namespace of a key; empty without one."""
    return _split(key)[0]


def own_keys(keys: Iterable[str]) -> list[str]:
    """Return those of `keys` that are of the current namespace."""
    namespace = conf.namespace
    return [key for key in keys if namespace_of(key) == namespace]


def pk_from_key(key: str) -> Any:
    """Return the primary key that `key` stands for."""
    _, text = _split(key)
    return _user_model()._meta.pk.to_python(text)


def pk_from_json(value: Any) -> Any:
    """Return the primary key that a client named: a number, or its string.

    Raises:
        ValueError: `value` can't be a primary key.
    """
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError(f"not a user id: {value!r:.80}")
    try:
        return _checked(value, _user_model()._meta.pk)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"not a user id: {value!r:.80}") from error


def allowed_to_watch(user: Any, pks: Collection[Any]) -> set[Any]:
    """Return those of `pks` whose presence `user` may see, as its `ws_can_watch` decides.

    Nobody's, where the model has none.
    """
    decide = getattr(user, "ws_can_watch", None)
    if not pks or decide is None:
        return set()
    _ = conf.namespace  # a callable may choose the tenant of the queries in this thread
    allowed = decide(list(pks))
    return set(pks) if allowed is True else set(pks) & set(allowed or ())


def _pk_of(user: Any, model: Any) -> Any:
    field = model._meta.pk
    if isinstance(user, Model):
        if not isinstance(user, model):
            kind = user.__class__.__name__  # of what a lazy object holds
            raise TypeError(f"expected a {model.__name__}, got {kind}: {user!r:.80}")
        pk = getattr(user, field.attname)  # a child model may have a primary key of its own
        if pk is None:
            raise ValueError(f"{user!r} has no primary key: save it first.")
        return field.to_python(pk)
    try:
        return _checked(user, field)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        raise TypeError(
            f"expected a {model.__name__} or its primary key, got {user!r:.80}"
        ) from error


def _checked(value: Any, field: Any) -> Any:
    """Return `value` as the primary key `field` has it.

    Raises:
        TypeError: no key is of this type, though the field might convert it: 1.5 to 1, True to
            1, a tuple or any other object to its `str`.
        ValidationError, ValueError, OverflowError: the field, or UTF-8, can't hold it.
    """
    if type(value) is int and -(2**31) <= value < 2**31 and field.get_internal_type() in _INTEGERS:
        return value
    while field.remote_field:  # the key of a child model
        field = field.target_field
    pk = field.to_python(value)
    is_text_or_number = isinstance(value, int | str) and not isinstance(value, bool)
    if pk is None or not (is_text_or_number or type(value) is type(pk)):
        raise TypeError(f"{type(value).__name__} is no type of a primary key")
    str(pk).encode()  # a lone surrogate names nobody
    field.run_validators(pk)
    return pk


#: Fields that hold every 32-bit integer: their validators need not run.
_INTEGERS = frozenset({"AutoField", "BigAutoField", "IntegerField", "BigIntegerField"})


def _split(key: str) -> tuple[str, str]:
    namespace, separator, text = key.partition(_SEPARATOR)
    return (namespace, text) if separator else ("", key)
