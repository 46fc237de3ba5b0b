"""Presence in Django REST framework: a list of users costs one round trip, not one a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models
from rest_framework import serializers

from . import presence
from .users import pk_of

__all__ = ["LastSeenField", "OnlineField", "UserWsSerializerMixin"]


class _PresenceField(serializers.Field):  # type: ignore[type-arg]
    """A read-only field that reads the presence of everybody in the rendered document at once.

    The user is an instance, or a row of ``values()`` with the primary key in it. What schema
    generators take for the type is the other base of its subclasses.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs["read_only"] = True
        kwargs.setdefault("source", "*")
        super().__init__(**kwargs)

    def status(self, user: Any) -> presence.Status:
        """Return the user's status, read together with that of the document's other users.

        Of somebody whose status must not be shown (`ws_shown` in the serializer's context, see
        `UserWsViewSet`), it is that of a user who never was there.
        """
        named = _named(user)
        if named is None or not self._may_show(named):
            return presence.Status()
        pk = pk_of(named)
        known: dict[Any, presence.Status] = self.root.__dict__.setdefault("_ws_statuses", {})
        if pk not in known:
            known.update(presence.statuses([*self._subjects(), named]))
        return known[pk]

    def _may_show(self, user: Any) -> bool:
        """Ask the context's `ws_shown` once for everybody in this rendering."""
        shown = self.context.get("ws_shown")
        if shown is None:
            return True
        allowed: dict[Any, bool] = self.root.__dict__.setdefault("_ws_allowed", {})
        pk = pk_of(user)
        if pk not in allowed:
            pks = list(dict.fromkeys(map(pk_of, [*self._subjects(), user])))
            chosen = set(shown(pks))
            allowed.update((each, each in chosen) for each in pks)
        return allowed[pk]

    def _subjects(self) -> list[Any]:
        """Return all saved users that this rendering will ask this field about."""
        users = _instances(self.parent)
        if self.source != "*":
            users = [_attribute(self, each) for each in users]
        named = (_named(each) for each in users if isinstance(each, models.Model | Mapping))
        return [each for each in named if each is not None]


class OnlineField(_PresenceField, serializers.BooleanField):
    """``is_online``, a bool. `source` names the user if the object itself isn't one."""

    def to_representation(self, value: Any) -> bool:
        """Return whether the user is online."""
        return self.status(value).is_online


class LastSeenField(_PresenceField, serializers.DateTimeField):
    """``last_seen``, in ISO 8601 or null, as DRF writes datetimes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_null": True, **kwargs})

    def to_representation(self, value: Any) -> Any:
        """Return when the user was last online."""
        last_seen = self.status(value).last_seen
        return None if last_seen is None else super().to_representation(last_seen)


class UserWsSerializerMixin(serializers.Serializer):  # type: ignore[type-arg]
    """Add ``is_online`` and ``last_seen`` to a serializer of users.

    In a `ModelSerializer`, name them in `Meta.fields`.
    """

    is_online = OnlineField()
    last_seen = LastSeenField()


def _named(user: Any) -> Any:
    """Return a user as presence takes it: the instance, or the primary key in a row of
    ``values()``; None for nobody, or somebody unsaved.

    Raises:
        KeyError: the row has no primary key.
    """
    if isinstance(user, Mapping):
        field = get_user_model()._meta.pk
        return user["pk"] if "pk" in user else user[field.attname]
    if user is None or getattr(user, "pk", user) is None:
        return None
    return user


def _instances(serializer: Any) -> list[Any]:
    """Return the objects that `serializer` renders, found from the root of the document."""
    parent = serializer.parent
    if parent is None:
        instance = serializer.instance
        many = isinstance(serializer, serializers.ListSerializer)
        return _items(instance) if many else [instance]
    if isinstance(parent, serializers.ListSerializer):
        return _instances(parent)
    found: list[Any] = []
    for each in _instances(parent):
        value = None if each is None else _attribute(serializer, each)
        many = isinstance(serializer, serializers.ListSerializer)
        found.extend(_items(value) if many else [value])
    return found


def _attribute(field: Any, instance: Any) -> Any:
    try:
        return field.get_attribute(instance)
    except Exception:
        return None


def _items(value: Any) -> list[Any]:
    """Return the items of a list. Of a manager return only prefetched rows: others cost a query."""
    if isinstance(value, models.Manager):
        value = value.all()
        if value._result_cache is None:
            return []
    return [] if value is None else list(value)
