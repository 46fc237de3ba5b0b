"""Read-only users with their presence, ready to subclass."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers, viewsets
from rest_framework.permissions import IsAuthenticated

from .serializers import UserWsSerializerMixin

__all__ = ["UserWsViewSet"]


class UserWsViewSet(viewsets.ReadOnlyModelViewSet):  # type: ignore[type-arg]
    """Active users: primary key, username, ``is_online`` and ``last_seen``.

    Signed-in users only. Subclass it to show other fields (`serializer_class`), other users
    (`queryset` or `get_queryset`), or to other people (`permission_classes`).
    """

    permission_classes = (IsAuthenticated,)

    def get_queryset(self) -> Any:
        """Return the users in a fixed order, so that pages don't overlap."""
        if self.queryset is not None:  # type: ignore[arg-type]
            return super().get_queryset()
        model: Any = get_user_model()
        users = model._default_manager.order_by("pk")
        has_active = any(field.name == "is_active" for field in model._meta.get_fields())
        return users.filter(is_active=True) if has_active else users

    def get_serializer_class(self) -> Any:
        """Return `serializer_class`, or one made for the project's user model."""
        return self.serializer_class or _serializer_class(get_user_model())


@lru_cache
def _serializer_class(model: Any) -> Any:
    names = dict.fromkeys([model._meta.pk.name, model.USERNAME_FIELD, "is_online", "last_seen"])
    meta = type("Meta", (), {"model": model, "fields": list(names)})
    bases = (UserWsSerializerMixin, serializers.ModelSerializer)
    return type("UserWsSerializer", bases, {"Meta": meta})
