"""Presence in Django's admin: a column and a filter, one round trip a page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from . import presence

__all__ = ["OnlineFilter", "UserWsAdminMixin"]


class OnlineFilter(admin.SimpleListFilter):
    """Filter users by who is online now."""

    title = _("online")
    parameter_name = "online"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        """Return the choices."""
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the users that match the choice."""
        if self.value() == "yes":
            return queryset.filter(pk__in=presence.online_users())
        if self.value() == "no":
            return queryset.exclude(pk__in=presence.online_users())
        return queryset


class UserWsAdminMixin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Add to a user admin the column ``online`` and its filter.

    ``class MyUserAdmin(UserWsAdminMixin, UserAdmin)``. The column comes last; a `list_display`
    that names ``ws_online`` itself keeps its order.
    """

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns, with `ws_online` added."""
        columns = super().get_list_display(request)
        return columns if "ws_online" in columns else (*columns, "ws_online")

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Return the filters, with `OnlineFilter` added."""
        filters = super().get_list_filter(request)
        return filters if OnlineFilter in filters else (*filters, OnlineFilter)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the page, with the presence of its users read in one round trip."""
        changelist = super().get_changelist_instance(request)
        presence.prefetch(changelist.result_list)
        return changelist

    @admin.display(boolean=True, description=_("online"))
    def ws_online(self, user: Any) -> bool:
        """Show whether the user is online. The user model needs no mixin for it."""
        known: presence.Status | None = user.__dict__.get("_ws_status")  # by `prefetch`
        return bool(presence.online([user])) if known is None else known.is_online
