"""Presence in Django REST framework: a list of users costs one round trip, not one a user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from rest_framework import serializers

from . import presence

__all__ = ["LastSeenField", "OnlineField", "UserWsSerializerMixin"]


class _PresenceField(serializers.Field):  # type: ignore[type-arg]
    """A read-only field. Reads the presence of all users in the rendered document at once."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["read_only"] = True
        kwargs.setdefault("source", "*")
        super().__init__(**kwargs)

    def status(self, user: Any) -> presence.Status:
        """Return the user's status, read together with that of the document's other users."""
        if user is None or user.pk is None:
            return presence.Status()
        known: dict[Any, presence.Status] = self.root.__dict__.setdefault("_ws_statuses", {})
        if user.pk not in known:
            users = [each for each in self._subjects() if isinstance(each, models.Model)]
            known.update(presence.statuses([*users, user]))
        return known[user.pk]

    def _subjects(self) -> Iterable[Any]:
        """Return all users that this rendering will ask this field about."""
        users = _instances(self.parent)
        if self.source != "*":
            users = [_attribute(self, each) for each in users]
        return users


class OnlineField(_PresenceField):
    """``is_online``, a bool. `source` names the user if the object itself isn't one."""

    def to_representation(self, value: Any) -> bool:
        """Return whether the user is online."""
        return self.status(value).is_online


class LastSeenField(_PresenceField):
    """``last_seen``, in ISO 8601 or null, as DRF writes datetimes."""

    def to_representation(self, value: Any) -> str | None:
        """Return when the user was last online."""
        last_seen = self.status(value).last_seen
        if last_seen is None:
            return None
        return serializers.DateTimeField().to_representation(last_seen)


class UserWsSerializerMixin(serializers.Serializer):  # type: ignore[type-arg]
    """Add ``is_online`` and ``last_seen`` to a serializer of users.

    In a `ModelSerializer`, name them in `Meta.fields`.
    """

    is_online = OnlineField()
    last_seen = LastSeenField()


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
