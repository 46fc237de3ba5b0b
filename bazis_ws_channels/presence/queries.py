"""The public questions of presence: who is online, and when users were last seen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model

from ..conf import conf
from ..exceptions import PresenceUnavailable
from ..redis.breaker import Breaker
from ..redis.commands import Command
from ..redis.hosts import Host
from ..sending import refuse_on_loop, rounds
from ..times import datetime_of
from ..users import aseveral, in_space, keys_of, own_keys, pk_from_key, pk_of, pks_of, several
from .stores import get_store
from .stores.base import (
    Counts,
    OnlineCount,
    OnlineKeys,
    OnlineReply,
    Question,
    Seen,
    Statuses,
    Store,
)
from .stores.encoding import Stale
from .stores.redis import RedisStore

__all__ = [
    "Count",
    "Status",
    "acount",
    "acount_by_key",
    "acount_quietly",
    "alast_seen",
    "aonline",
    "aonline_count",
    "aonline_users",
    "astatuses",
    "count",
    "count_by_key",
    "count_quietly",
    "counting",
    "last_seen",
    "online",
    "online_count",
    "online_users",
    "prefetch",
    "statuses",
]

logger = logging.getLogger("bazis_ws_channels")

R = TypeVar("R")

#: Users of one question: neither Redis nor an event loop is busy for long with it.
_ROUND = 2000
#: What is answered where the store can't.
_NOBODY = OnlineReply(True, "0", [])


@dataclass(frozen=True, slots=True)
class Status:
    """A user's presence at one moment.

    Attributes:
        is_online: at least one live connection, on any process or machine.
        last_seen: while online, the time of asking; otherwise the end of the last connection.
            None if never, or longer ago than ``BAZIS_WS_LAST_SEEN_SECONDS``.
    """

    is_online: bool = False
    last_seen: datetime | None = None


class _Reader:
    """Asks the store. If that fails, answers as ``BAZIS_WS_PRESENCE_ON_ERROR`` says."""

    def __init__(self) -> None:
        self._breaker = Breaker()
        self._store: Store | None = None

    def read(self, question: Question[R]) -> R | None:
        """Ask. Return None if the store can't answer and the setting is "offline"."""
        store = get_store()
        if self._is_refused(store):
            return None
        try:
            answer = store.ask(question)
        except PresenceUnavailable as error:
            self.failed(error)
            return None
        self.worked()
        return answer

    async def aread(self, question: Question[R]) -> R | None:
        """Async twin of `read`."""
        store = get_store()
        if self._is_refused(store):
            return None
        try:
            answer = await store.aask(question)
        except PresenceUnavailable as error:
            self.failed(error)
            return None
        self.worked()
        return answer

    def failed(self, error: PresenceUnavailable) -> None:
        """Note that the store did not answer; log it once.

        Raises:
            PresenceUnavailable: the setting is "raise".
        """
        if not self._breaker.has_failed:
            rule = conf.BAZIS_WS_PRESENCE_ON_ERROR
            logger.error("The presence store failed. %s. Reading answers %r.", error, rule)
        self._breaker.failed()
        if conf.BAZIS_WS_PRESENCE_ON_ERROR == "raise":
            raise error

    def worked(self) -> None:
        """Note that the store answered."""
        if self._breaker.has_failed:
            logger.error("The presence store is back.")
        self._breaker.worked()

    def has_just_failed(self, store: Store) -> bool:
        """Tell whether not to ask now."""
        if self._store is not store:  # the settings have changed
            self._store, self._breaker = store, Breaker()
        return self._breaker.is_open

    def _is_refused(self, store: Store) -> bool:
        if not self.has_just_failed(store):
            return False
        if conf.BAZIS_WS_PRESENCE_ON_ERROR == "raise":
            raise PresenceUnavailable("The presence store was out of reach a moment ago")
        return True


_reader = _Reader()


def statuses(users: Iterable[Any]) -> dict[Any, Status]:
    """Return the status of each of `users` (instances or primary keys) by primary key.

    One round trip for up to 2,000 users. Unsaved users are left out.

    Raises:
        PresenceUnavailable: the store is out of reach and ``BAZIS_WS_PRESENCE_ON_ERROR`` says
            "raise"; otherwise who could not be asked for is offline.
        SynchronousOnlyOperation: called on an event loop; use `astatuses`.
    """
    refuse_on_loop("presence.astatuses")
    found: dict[Any, Status] = {}
    for pks, keys in _rounds(_saved(several(users))):
        found.update(_statuses(pks, _reader.read(Statuses(keys))))
    return found


async def astatuses(users: Iterable[Any]) -> dict[Any, Status]:
    """Async twin of `statuses`."""
    found: dict[Any, Status] = {}
    async for pks, keys in _around(_saved(await aseveral(users))):
        found.update(_statuses(pks, await _reader.aread(Statuses(keys))))
    return found


def online(users: Iterable[Any]) -> set[Any]:
    """Return the primary keys of those of `users` who are online. Raises as `statuses`."""
    refuse_on_loop("presence.aonline")
    found: set[Any] = set()
    for pks, keys in _rounds(_saved(several(users))):
        found |= _online(pks, _reader.read(Counts(keys)))
    return found


async def aonline(users: Iterable[Any]) -> set[Any]:
    """Async twin of `online`."""
    found: set[Any] = set()
    async for pks, keys in _around(_saved(await aseveral(users))):
        found |= _online(pks, await _reader.aread(Counts(keys)))
    return found


def count(users: Iterable[Any]) -> int:
    """Return how many live connections `users` have together. Raises as `statuses`."""
    refuse_on_loop("presence.acount")
    return sum(sum(_reader.read(Counts(keys)) or ()) for _, keys in _rounds(several(users)))


async def acount(users: Iterable[Any]) -> int:
    """Async twin of `count`."""
    connections = 0
    async for _, keys in _around(await aseveral(users)):
        connections += sum(await _reader.aread(Counts(keys)) or ())
    return connections


def online_users() -> set[Any]:
    """Return the primary keys of all users who are online. Raises as `statuses`.

    One round trip for some 2,000 users.
    """
    refuse_on_loop("presence.aonline_users")
    found: set[Any] = set()
    cursor = "0"
    while True:
        page = _reader.read(OnlineKeys(cursor, _ROUND)) or _NOBODY
        keys = own_keys(page.keys)
        if not page.are_sure:
            keys = list(_online(keys, _reader.read(Counts(keys))))
        found.update(map(pk_from_key, keys))
        cursor = page.cursor
        if cursor == "0":
            return found


async def aonline_users() -> set[Any]:
    """Async twin of `online_users`."""
    found: set[Any] = set()
    cursor = "0"
    while True:
        page = await _reader.aread(OnlineKeys(cursor, _ROUND)) or _NOBODY
        keys = await in_space(own_keys, page.keys)
        if not page.are_sure:
            keys = list(_online(keys, await _reader.aread(Counts(keys))))
        found.update(map(pk_from_key, keys))
        cursor = page.cursor
        if cursor == "0":
            return found


def online_count() -> int:
    """Return how many users are online. Raises as `statuses`."""
    refuse_on_loop("presence.aonline_count")
    number = None if conf.BAZIS_WS_NAMESPACE else _reader.read(OnlineCount())
    return len(online_users()) if number is None else number


async def aonline_count() -> int:
    """Async twin of `online_count`."""
    number = None if conf.BAZIS_WS_NAMESPACE else await _reader.aread(OnlineCount())
    return len(await aonline_users()) if number is None else number


def last_seen(users: Iterable[Any]) -> dict[Any, datetime | None]:
    """Return by primary key when each of `users` was last online (see `Status`)."""
    return {pk: status.last_seen for pk, status in statuses(users).items()}


async def alast_seen(users: Iterable[Any]) -> dict[Any, datetime | None]:
    """Async twin of `last_seen`."""
    return {pk: status.last_seen for pk, status in (await astatuses(users)).items()}


def prefetch(users: Iterable[Any]) -> None:
    """Read the status of user *instances* at once and keep it on them.

    `is_online` and `last_seen` then return the status of this moment without asking again, as
    prefetched relations do.
    """
    users = several(users)
    known = statuses(users)
    for user in users:
        status = Status() if user.pk is None else known[pk_of(user)]
        user._ws_status = status


# --- by key: for publishing, which counts in the same round trip, and for endings -----------


def count_by_key(keys: Sequence[str]) -> int:
    """As `count`, of users by key."""
    return sum(sum(_reader.read(Counts(each)) or ()) for each in rounds(keys, _ROUND))


async def acount_by_key(keys: Sequence[str]) -> int:
    """Async twin of `count_by_key`."""
    connections = 0
    for number, each in enumerate(rounds(keys, _ROUND)):
        if number:
            await asyncio.sleep(0)
        connections += sum(await _reader.aread(Counts(each)) or ())
    return connections


class Count:
    """A count of users' connections that is made in one round trip with something else.

    Attributes:
        command: the Redis command that counts, and its host.
    """

    __slots__ = ("_question", "_store", "command")

    def __init__(self, store: RedisStore, keys: Sequence[str]) -> None:
        self._store = store
        self._question = Counts(keys)
        self.command: tuple[Host, Command] = (store.host, store.command(self._question))

    def result(self, reply: Any) -> int | None:
        """Return the count in the reply; 0 if that is an error. None: it must be asked again."""
        if reply is None:
            return None
        try:
            answer = self._store.answer(self._question, reply)
        except PresenceUnavailable as error:
            with suppress(PresenceUnavailable):
                _reader.failed(error)
            return 0
        return None if isinstance(answer, Stale) else sum(answer)


def counting(keys: Sequence[str]) -> Count | None:
    """Return how to count users' connections by a Redis command. None if there is nothing to count,
    or presence isn't in Redis or has just failed.
    """
    if not keys:
        return None
    store = get_store()
    if not isinstance(store, RedisStore) or _reader.has_just_failed(store):
        return None
    return Count(store, keys)


def count_quietly(keys: Sequence[str]) -> int:
    """Count by key; 0 where the store can't answer, for publishing must not fail for it."""
    try:
        return count_by_key(keys)
    except PresenceUnavailable:
        return 0


async def acount_quietly(keys: Sequence[str]) -> int:
    """Async twin of `count_quietly`."""
    try:
        return await acount_by_key(keys)
    except PresenceUnavailable:
        return 0


# --- helpers --------------------------------------------------------------------------------


def _saved(users: Iterable[Any]) -> list[Any]:
    return [user for user in users if not (isinstance(user, Model) and user.pk is None)]


def _rounds(users: Sequence[Any]) -> Iterator[tuple[list[Any], list[str]]]:
    """Yield primary keys and the users' keys, each user once, in rounds."""
    known: set[Any] = set()
    for some in rounds(users, _ROUND):
        if pks := _fresh(some, known):
            yield pks, keys_of(pks)


async def _around(users: Sequence[Any]) -> AsyncIterator[tuple[list[Any], list[str]]]:
    """Yield rounds, with a turn of the event loop between them."""
    known: set[Any] = set()
    for number, some in enumerate(rounds(users, _ROUND)):
        if number:
            await asyncio.sleep(0)
        if pks := _fresh(some, known):
            yield pks, await in_space(keys_of, pks)


def _fresh(users: Sequence[Any], known: set[Any]) -> list[Any]:
    """Return the primary keys of `users` that are not `known` yet, and add them."""
    pks = [pk for pk in pks_of(users) if pk not in known]
    known.update(pks)
    return pks


def _statuses(pks: Sequence[Any], reply: tuple[int, list[Seen]] | None) -> dict[Any, Status]:
    if reply is None:
        return dict.fromkeys(pks, Status())
    now, seen = reply
    return {
        pk: Status(bool(each.connections), datetime_of(now if each.connections else each.last_seen))
        for pk, each in zip(pks, seen, strict=True)
    }


def _online(pks: Sequence[Any], reply: list[int] | None) -> set[Any]:
    counts = reply if reply is not None else [0] * len(pks)
    return {pk for pk, connections in zip(pks, counts, strict=True) if connections}
