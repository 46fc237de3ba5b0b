"""Who is online: what the rest of a project asks of presence."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Model

from ..conf import conf
from ..exceptions import PresenceUnavailable
from ..identity import pk_from_text, pks_of
from .store import aask, ask, get_store

__all__ = [
    "Status",
    "acount",
    "alast_seen",
    "aonline",
    "aonline_count",
    "aonline_users",
    "astatuses",
    "count",
    "last_seen",
    "online",
    "online_count",
    "online_users",
    "prefetch",
    "statuses",
]

logger = logging.getLogger("bazis_ws_channels")

#: After a failure, reading answers from the rule for this long instead of asking again: a page
#: with fifty users must wait for a dead Redis once, not fifty times.
_BREAK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Status:
    """A user's presence at one moment.

    Attributes:
        is_online: at least one live connection, on any process or machine.
        last_seen: while online the moment of asking, else the end of the last connection;
            None if never, or longer ago than ``BAZIS_WS_LAST_SEEN_SECONDS``.
    """

    is_online: bool = False
    last_seen: datetime | None = None


class _Breaker:
    """What to answer when the store is out of reach: ``BAZIS_WS_PRESENCE_ON_ERROR``."""

    def __init__(self) -> None:
        self._failed_at: float | None = None
        self._store: object = None

    def is_open(self) -> bool:
        if self._store is not get_store():  # another one since the settings have changed
            self._store, self._failed_at = get_store(), None
        failed_at = self._failed_at
        return failed_at is not None and time.monotonic() - failed_at < _BREAK_SECONDS

    def failed(self, error: PresenceUnavailable) -> None:
        if self._failed_at is None:
            logger.error("%s Reading presence answers %r.", error, conf.BAZIS_WS_PRESENCE_ON_ERROR)
        self._failed_at = time.monotonic()
        if conf.BAZIS_WS_PRESENCE_ON_ERROR == "raise":
            raise error

    def worked(self) -> None:
        if self._failed_at is not None:
            logger.info("The presence store is back.")
        self._failed_at = None

    def refuse(self) -> None:
        if conf.BAZIS_WS_PRESENCE_ON_ERROR == "raise":
            raise PresenceUnavailable("The presence store was out of reach a moment ago.")


_breaker = _Breaker()


def _read(verb: str, *args: str) -> Any | None:
    """Ask the store; None where it can't answer and the settings say "offline"."""
    if _breaker.is_open():
        _breaker.refuse()
        return None
    try:
        reply = ask(verb, *args)
    except PresenceUnavailable as error:
        _breaker.failed(error)
        return None
    _breaker.worked()
    return reply


async def _aread(verb: str, *args: str) -> Any | None:
    if _breaker.is_open():
        _breaker.refuse()
        return None
    try:
        reply = await aask(verb, *args)
    except PresenceUnavailable as error:
        _breaker.failed(error)
        return None
    _breaker.worked()
    return reply


def statuses(users: Iterable[Any]) -> dict[Any, Status]:
    """Return the status of each of `users` (instances or primary keys) by primary key.

    One round trip, however many. Unsaved users are left out.

    Raises:
        PresenceUnavailable: the store is out of reach and ``BAZIS_WS_PRESENCE_ON_ERROR`` says
            "raise"; otherwise everybody is offline then.
        SynchronousOnlyOperation: called on an event loop; use `astatuses`.
    """
    pks = _saved(users)
    return _parse_statuses(pks, _read("status", *map(str, pks)) if pks else None)


async def astatuses(users: Iterable[Any]) -> dict[Any, Status]:
    """Async twin of `statuses`."""
    pks = _saved(users)
    return _parse_statuses(pks, await _aread("status", *map(str, pks)) if pks else None)


def online(users: Iterable[Any]) -> set[Any]:
    """Return the primary keys of those of `users` who are online, in one round trip."""
    pks = _saved(users)
    return _parse_online(pks, _read("count", *map(str, pks)) if pks else None)


async def aonline(users: Iterable[Any]) -> set[Any]:
    """Async twin of `online`."""
    pks = _saved(users)
    return _parse_online(pks, await _aread("count", *map(str, pks)) if pks else None)


def count(users: Iterable[Any]) -> int:
    """Return how many live connections `users` have together."""
    pks = pks_of(users)
    return sum(_read("count", *map(str, pks)) or ()) if pks else 0


async def acount(users: Iterable[Any]) -> int:
    """Async twin of `count`."""
    pks = pks_of(users)
    return sum(await _aread("count", *map(str, pks)) or ()) if pks else 0


def online_users() -> set[Any]:
    """Return the primary keys of all users who are online."""
    return {pk_from_text(text) for text in _read("online_users") or ()}


async def aonline_users() -> set[Any]:
    """Async twin of `online_users`."""
    return {pk_from_text(text) for text in await _aread("online_users") or ()}


def online_count() -> int:
    """Return how many users are online."""
    return _read("online_count") or 0


async def aonline_count() -> int:
    """Async twin of `online_count`."""
    return await _aread("online_count") or 0


def last_seen(users: Iterable[Any]) -> dict[Any, datetime | None]:
    """Return by primary key when each of `users` was last online (see `Status`)."""
    return {pk: status.last_seen for pk, status in statuses(users).items()}


async def alast_seen(users: Iterable[Any]) -> dict[Any, datetime | None]:
    """Async twin of `last_seen`."""
    return {pk: status.last_seen for pk, status in (await astatuses(users)).items()}


def prefetch(users: Iterable[Any]) -> None:
    """Read the status of user *instances* at once and keep it on them.

    Their `is_online` and `last_seen` then answer what was true at this moment, without asking
    again, as prefetched relations do.
    """
    users = list(users)
    known = statuses(users)
    for user in users:
        user._ws_status = known.get(user.pk, Status())


def _saved(users: Iterable[Any]) -> list[Any]:
    if not isinstance(users, Model | str | bytes):  # which `pks_of` refuses
        users = [user for user in users if getattr(user, "pk", user) is not None]
    return pks_of(users)


def _parse_online(pks: list[Any], reply: list[int] | None) -> set[Any]:
    return {pk for pk, connections in zip(pks, reply or (), strict=False) if connections}


def _parse_statuses(pks: list[Any], reply: list[Any] | None) -> dict[Any, Status]:
    if reply is None:
        return dict.fromkeys(pks, Status())
    now, *fields = reply
    return {
        pk: Status(bool(connections), from_us(now if connections else seen))
        for pk, connections, seen in zip(pks, fields[::2], fields[1::2], strict=True)
    }


def from_us(value: str | int) -> datetime | None:
    """Return an aware datetime of microseconds since the epoch; None for an empty string."""
    if value == "":
        return None
    seconds, microseconds = divmod(int(float(value)), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
