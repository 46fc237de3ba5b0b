"""Looking again at the sessions of one event loop: may each of them still go on?

An ending is pushed, and a push can be lost. The database, the Django sessions and the revocations
are the truth: every session is compared with them once a period
(``BAZIS_WS_REAUTHORIZE_SECONDS``), and all of them after every loss of subscriptions. Sessions are
looked at in bulk: three times a period those that are due, with one question to the presence store
and one query for each 1,000 users.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model

from ..conf import conf
from ..exceptions import PresenceUnavailable
from ..loops import LoopLocal
from ..presence.stores import get_store
from ..presence.stores.base import Revoked
from ..users import namespace_of
from .credentials import is_stamp_of
from .django_sessions import living
from .identity import Identity
from .unwritten import unwritten

__all__ = ["Reauthorizer", "Subject", "Verdict", "current_reauthorizer"]

logger = logging.getLogger("bazis_ws_channels")

#: Sessions of one question about revocations, which keeps Redis busy for some 10 ms.
_QUESTION = 2500
#: Sessions of one query; other work of the database's thread comes in between.
_QUERY = 1000
#: Parts of a period: the sessions that fall due in one part are looked at together.
_PARTS = 3
#: How long the project may take to answer for one session.
_ASK_SECONDS = 10.0
#: Clocks and timers differ by as much, in seconds.
_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about a session.

    Attributes:
        identity: the one that was looked at.
        ending: the error code and its detail, if the session must end.
        user: as the database has the user now; None where it was not asked.
        expires_at: seconds since the epoch, where a Django session's expiry is known.
    """

    identity: Identity
    ending: tuple[str, str] | None = None
    user: Any = None
    expires_at: float | None = None


class Subject(Protocol):
    """A session that is looked at again."""

    context: contextvars.Context

    @property
    def identity(self) -> Identity:
        """Who it is."""

    def judge(self, verdict: Verdict) -> None:
        """End, or go on with what was found. Waits for nothing."""

    async def ask_again(self) -> None:
        """Ask the project again for what it has allowed."""


class Reauthorizer:
    """Looks at the sessions of one event loop, each once a period.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[Subject, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._has_failed = False

    def __len__(self) -> int:
        return len(self._due)

    def add(self, subject: Subject) -> None:
        """Look at a session once a period from now on."""
        # At a random moment: those who came together are spread over the period.
        self._due[subject] = self._clock() + random.uniform(0, 1) * _rest()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    def discard(self, subject: Subject) -> None:
        """Look at a session no longer."""
        self._due.pop(subject, None)

    def look_at(self, subject: Subject) -> None:
        """Look at a session now, if it is one of these."""
        if subject in self._due:
            self._due[subject] = 0.0
            self._wakeup.set()

    def look_again(self) -> None:
        """Look at all sessions now: messages that ended some of them may have been lost."""
        self._due = dict.fromkeys(self._due, 0.0)
        self._wakeup.set()

    async def close(self) -> None:
        """Stop: the event loop ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._due:
            await self._sleep()
            batch = self._take()
            while batch:
                await self._look_quietly(batch)
                batch = self._take()
            if unwritten:
                await sync_to_async(unwritten.write, thread_sensitive=False)()

    async def _look_quietly(self, batch: Sequence[Subject]) -> None:
        try:
            await self._look(batch)
        except Exception:
            logger.exception("Sessions could not be looked at again; the next time they are.")

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(conf.BAZIS_WS_REAUTHORIZE_SECONDS / _PARTS):
                await self._wakeup.wait()
        except TimeoutError:
            pass
        self._wakeup.clear()

    def _take(self) -> list[Subject]:
        """Return sessions that are due; each is due again in a period."""
        now = self._clock()
        batch = [subject for subject, at in self._due.items() if at <= now][:_QUESTION]
        for subject in batch:
            self._due[subject] = now + _rest()
        return batch

    async def _look(self, batch: Sequence[Subject]) -> None:
        """Judge sessions. What can't be found out now is looked at again soon."""
        by_namespace: defaultdict[str, list[Subject]] = defaultdict(list)
        for subject in batch:
            by_namespace[namespace_of(subject.identity.key)].append(subject)
        for namespace, subjects in by_namespace.items():
            identities = [subject.identity for subject in subjects]
            # Whoever has tenants may tell them by the context in which a session was opened.
            context = subjects[0].context.copy()
            looking = asyncio.create_task(_examine(identities, namespace), context=context)
            verdicts, errors = await looking
            for subject, verdict in zip(subjects, verdicts, strict=True):
                subject.judge(verdict)
            self._note(errors)
            if errors:
                soon = self._clock() + conf.BAZIS_WS_REAUTHORIZE_SECONDS / 10
                self._due.update(dict.fromkeys(self._due.keys() & set(subjects), soon))
                continue
            for subject in subjects:
                await self._ask_again(subject)

    async def _ask_again(self, subject: Subject) -> None:
        if subject not in self._due:
            return
        try:
            async with asyncio.timeout(_ASK_SECONDS):  # others wait for it
                await subject.ask_again()
        except Exception:
            logger.exception("A session could not be looked at again.")

    def _note(self, errors: Sequence[Exception]) -> None:
        """Log the first of a row of failures, and their end."""
        if errors and not self._has_failed:
            logger.error("Sessions can't be looked at again now; they go on. %r", errors[0])
        elif self._has_failed and not errors:
            logger.error("Sessions are looked at again.")
        self._has_failed = bool(errors)


async def _examine(
    identities: Sequence[Identity], namespace: str
) -> tuple[list[Verdict], list[Exception]]:
    """Ask the revocations and the database; an outage of one is no verdict."""
    errors: list[Exception] = []
    try:
        question = Revoked([(each.key, each.token) for each in identities])
        flags = await get_store().aask(question)
    except PresenceUnavailable as error:
        errors.append(error)
        flags = [False] * len(identities)
    verdicts: list[Verdict] = []
    for start in range(0, len(identities), _QUERY):
        part = slice(start, start + _QUERY)
        try:
            judge = database_sync_to_async(_judge)
            verdicts += await judge(identities[part], flags[part], namespace)
        except Exception as error:  # of any database, or of the project's managers
            errors.append(error)
            pairs = zip(identities[part], flags[part], strict=True)
            verdicts += [_judged(identity, flag, None) for identity, flag in pairs]
    return verdicts, errors


@dataclass(frozen=True, slots=True)
class _Rows:
    """The users by primary key, and the Django sessions that have not ended, with expiry."""

    users: dict[Any, Any]
    sessions: dict[str, float | None]


def _judge(identities: Sequence[Identity], flags: Sequence[bool], namespace: str) -> list[Verdict]:
    """Read the rows of identities and judge them; in a thread, for stamps take their time."""
    rows = _read(identities) if conf.namespace == namespace else None  # not of another tenant
    return [_judged(*each, rows) for each in zip(identities, flags, strict=True)]


def _read(identities: Sequence[Identity]) -> _Rows:
    pks = {each.user.pk for each in identities}
    users = get_user_model()._default_manager.filter(pk__in=pks)
    django_sessions = (each.django_session for each in identities)
    keys = {each.key for each in django_sessions if each is not None and each.key}
    return _Rows({user.pk: user for user in users}, living(keys))


def _judged(identity: Identity, is_revoked: bool, rows: _Rows | None) -> Verdict:
    """Return what was found. No I/O."""
    ended = Verdict(identity, ("logged_out", "The server ended the session"))
    if is_revoked:
        return ended
    if rows is None:
        return Verdict(identity)
    user = rows.users.get(identity.user.pk)
    is_active = user is not None and getattr(user, "is_active", True)
    if not is_active and conf.BAZIS_WS_END_ON_DEACTIVATION:
        return ended
    is_bound = user is not None and identity.stamp and conf.BAZIS_WS_END_ON_PASSWORD_CHANGE
    if is_bound and not is_stamp_of(user, identity.stamp):
        return ended
    return _judged_by_session(identity, user, rows) or ended


def _judged_by_session(identity: Identity, user: Any, rows: _Rows) -> Verdict | None:
    """Return what the Django session says, if there is one; None if it was ended."""
    session = identity.django_session
    if session is None:
        return Verdict(identity, user=user)
    is_living = session.key in rows.sessions
    if is_living:
        return Verdict(identity, user=user, expires_at=rows.sessions[session.key])
    has_expired = time.time() + _TOLERANCE_SECONDS >= (session.expires_at or time.time() + 60)
    if has_expired:
        return Verdict(identity, ("expired_token", "The Django session expired"))
    # Without a key the engine can't look; the session lasts until its expiry.
    return None if session.key else Verdict(identity, user=user)


def _rest() -> float:
    """Return after how many seconds a session is due again: with the wait for the others of its
    part, at most a period.
    """
    return conf.BAZIS_WS_REAUTHORIZE_SECONDS * (1 - 1 / _PARTS)


_reauthorizers: LoopLocal[Reauthorizer] = LoopLocal(Reauthorizer, Reauthorizer.close)


def current_reauthorizer() -> Reauthorizer:
    """Return the running event loop's."""
    return _reauthorizers.get()
