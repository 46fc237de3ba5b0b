"""The user model's mixin."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models

from . import auth, positions, presence, publishing, sending
from .auth.passwords import remember_password
from .groups import session_key, user_group
from .users import pk_of

__all__ = ["UserWsMixin", "UserWsQuerySet"]


class UserWsMixin(models.Model):
    """Add publishing and presence to a user model; it has no fields, so no migration either."""

    class Meta:
        abstract = True

    # --- presence ---------------------------------------------------------------------------

    @property
    def user_channel(self) -> str:
        """The channel-layer group of the user's connections."""
        return user_group(pk_of(self))

    @property
    def ws_session(self) -> str:
        """The user's presence key."""
        return session_key(pk_of(self))

    @property
    def is_online(self) -> bool:
        """Whether the user has a live connection, on any process or machine.

        One round trip, unless `presence.prefetch` or `UserWsQuerySet.with_presence` has read it.
        """
        return self._presence("presence.aonline").is_online

    @property
    def last_seen(self) -> datetime | None:
        """When the user was last online; while online, now. None if never."""
        return self._presence("presence.alast_seen").last_seen

    def _presence(self, twin: str) -> presence.Status:
        prefetched: presence.Status | None = self.__dict__.get("_ws_status")
        if prefetched is not None:
            return prefetched
        sending.refuse_on_loop(twin)
        return next(iter(presence.statuses([self]).values()), presence.Status())

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        """Reload, and forget a prefetched status too."""
        self.__dict__.pop("_ws_status", None)
        super().refresh_from_db(*args, **kwargs)
        remember_password(self)

    # --- publishing -------------------------------------------------------------------------

    def ws_publish(
        self,
        data: Any,
        *,
        record: bool = True,
        idempotency_key: str | None = None,
        on_commit: bool = False,
        using: str | None = None,
    ) -> int:
        """Hand `data` to every connection of the user; see `publishing.publish`."""
        sending.refuse_on_loop("ws_apublish")
        return publishing.publish(
            [self],
            data,
            record=record,
            idempotency_key=idempotency_key,
            on_commit=on_commit,
            using=using,
        )

    async def ws_apublish(
        self,
        data: Any,
        *,
        record: bool = True,
        idempotency_key: str | None = None,
        on_commit: bool = False,
        using: str | None = None,
    ) -> int:
        """Async twin of `ws_publish`."""
        return await publishing.apublish(
            [self],
            data,
            record=record,
            idempotency_key=idempotency_key,
            on_commit=on_commit,
            using=using,
        )

    @property
    def ws_position(self) -> dict[str, str] | None:
        """Where the user's messages are now; see `positions.position`."""
        sending.refuse_on_loop("ws_aposition")
        return positions.position(self)

    async def ws_aposition(self) -> dict[str, str] | None:
        """Async twin of `ws_position`."""
        return await positions.aposition(self)

    # --- sessions ---------------------------------------------------------------------------

    def ws_disconnect(
        self, code: str = "logged_out", *, revoke: bool = True, sessions: bool = False
    ) -> int:
        """End the user's sessions everywhere; see `auth.disconnect`."""
        sending.refuse_on_loop("ws_adisconnect")
        return auth.disconnect(self, code, revoke=revoke, sessions=sessions)

    async def ws_adisconnect(
        self, code: str = "logged_out", *, revoke: bool = True, sessions: bool = False
    ) -> int:
        """Async twin of `ws_disconnect`."""
        return await auth.adisconnect(self, code, revoke=revoke, sessions=sessions)

    def ws_token(self, lifetime: float | timedelta | None = None) -> str:
        """Return a token that opens a session for the user; see `auth.issue`."""
        return auth.issue(self, lifetime)

    # --- for projects to override -----------------------------------------------------------

    def ws_can_watch(self, user_ids: Collection[Any]) -> bool | Collection[Any]:
        """Return those of `user_ids` whose online status this user may follow, or True for all of
        them. By default none.
        """
        return ()

    @property
    def ws_language(self) -> str:
        """The language in which `publishing.notify` builds the user's messages."""
        return settings.LANGUAGE_CODE


# Or it would hide that of `AbstractUser` behind it: the translated names would be lost, and
# `makemigrations` would find a change in every existing user model.
del UserWsMixin.Meta


class UserWsQuerySet(models.QuerySet[Any]):
    """A queryset of users that knows about presence: `objects = UserWsQuerySet.as_manager()`,
    or `UserManager.from_queryset(UserWsQuerySet)()`.
    """

    _with_presence = False

    def online(self) -> UserWsQuerySet:
        """Filter to the users who are online now. Presence is read when this is called."""
        return self.filter(pk__in=presence.online_users())

    def offline(self) -> UserWsQuerySet:
        """Filter to the users who are not online now."""
        return self.exclude(pk__in=presence.online_users())

    def with_presence(self) -> UserWsQuerySet:
        """Read everybody's status in one round trip when the rows are loaded."""
        clone: UserWsQuerySet = self._chain()  # type: ignore[attr-defined]
        clone._with_presence = True
        return clone

    def _clone(self) -> UserWsQuerySet:
        clone: UserWsQuerySet = super()._clone()  # type: ignore[misc]
        clone._with_presence = self._with_presence
        return clone

    def _fetch_all(self) -> None:
        is_new = self._result_cache is None
        super()._fetch_all()  # type: ignore[misc]
        if is_new and self._with_presence:
            _prefetch_instances(self._result_cache or ())


def _prefetch_instances(rows: Iterable[Any]) -> None:
    """Prefetch presence, unless the rows are `values()`."""
    presence.prefetch(row for row in rows if isinstance(row, models.Model))
