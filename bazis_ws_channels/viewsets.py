"""Read-only users with their presence, ready to subclass."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers, viewsets
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.settings import api_settings

from .serializers import UserWsSerializerMixin
from .users import allowed_to_watch, pk_of

__all__ = ["UserWsPagination", "UserWsViewSet"]


class UserWsPagination(PageNumberPagination):
    """Pages of 100 users, up to 1,000 where ``page_size`` asks for them."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000


class UserWsViewSet(viewsets.ReadOnlyModelViewSet):  # type: ignore[type-arg]
    """Active users: primary key, username, ``is_online`` and ``last_seen``.

    Signed-in users only. Presence is shown of those whom the user model's `ws_can_watch` allows
    to be watched, and of oneself; the others look as if they had never been there. Subclass it to
    show other fields (`serializer_class`), other users (`queryset` or `get_queryset`), to other
    people (`permission_classes`), or everybody's presence (`shows_all_presence`).
    """

    permission_classes = (IsAuthenticated,)
    pagination_class: Any = api_settings.DEFAULT_PAGINATION_CLASS or UserWsPagination
    #: Whether whoever may see a user here sees the presence too.
    shows_all_presence = False

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

    def get_serializer_context(self) -> Any:
        """Return the context, which says whose presence is shown."""
        context: Any = super().get_serializer_context()
        if not self.shows_all_presence:
            context["ws_shown"] = self._shown
        return context

    def _shown(self, pks: list[Any]) -> Collection[Any]:
        """Return those of `pks` whose presence the request's user may see."""
        user: Any = self.request.user
        own = pk_of(user) if isinstance(user, get_user_model()) else None
        others = [pk for pk in pks if pk != own]
        return {*allowed_to_watch(user, others), own}


@lru_cache
def _serializer_class(model: Any) -> Any:
    names = dict.fromkeys([model._meta.pk.name, model.USERNAME_FIELD, "is_online", "last_seen"])
    meta = type("Meta", (), {"model": model, "fields": list(names)})
    bases = (UserWsSerializerMixin, serializers.ModelSerializer)
    return type("UserWsSerializer", bases, {"Meta": meta})
