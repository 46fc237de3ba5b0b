"""The sessions of one connection, one after another, and the wait for a token in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.contrib.auth.models import AnonymousUser

from .. import protocol
from ..auth.identity import Identity
from ..auth.reauthorization import current_reauthorizer
from ..exceptions import PresenceUnavailable
from ..history.positions import Since
from ..parcels import Parcel
from ..presence.tracker import current_tracker
from ..types import Event, Scope
from .anonymous import AnonymousSession
from .guard import Guard
from .inbox import Inbox
from .line import Line
from .lobby import address_of
from .patience import Patience
from .session import Session
from .tasks import Tasks

__all__ = ["Gate"]

#: How long a cancelled `session_started` may take to end, and a `session_ended` whose connection
#: is gone.
_CANCEL_SECONDS = 5.0


class Gate:
    """Opens, renews, changes and ends the session of one connection, one step at a time.

    Args:
        scope: the ASGI scope; its ``user`` follows the session.
        tasks: the connection's tasks.
        line: sends frames to the client.
        started: awaited in a task when a session has begun, cancelled when it ends; None: nothing.
        ended: awaited when a session that had begun has ended.

    Attributes:
        inbox: the connection's own channel, where sessions get their messages.
        session: the session, live or about to be; None without one.
        lock: held while the session changes.
    """

    inbox: Inbox

    def __init__(
        self,
        scope: Scope,
        tasks: Tasks,
        line: Line,
        started: Callable[[], Coroutine[Any, Any, None]] | None,
        ended: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.session: Session | None = None
        self.lock = asyncio.Lock()
        self._scope = scope
        self._tasks = tasks
        self._line = line
        self._started, self._ended = started, ended
        self._has_begun = False
        self._starting: asyncio.Task[None] | None = None
        self._patience = Patience(scope, tasks, line, lambda: self.is_live)
        self._leaving: asyncio.Task[None] | None = None
        line.on_close = self._leave_aside

    @property
    def is_live(self) -> bool:
        """Whether there is a session that receives messages."""
        return self.session is not None and self.session.is_live

    @property
    def names(self) -> dict[str, Any]:
        """What names the connection in the log; empty without a session."""
        return {"user": each.pk, "session": each.id} if (each := self.session) else {}

    def await_token(self) -> None:
        """Start the timer that closes the socket unless a valid token comes in time."""
        self._patience.start()

    def token_in_hand(self) -> AbstractContextManager[None]:
        """Let no time run out while the server has a token that it has not looked at."""
        return self._patience.token_in_hand()

    async def admit(self, identity: Identity, since: Since | None = None) -> None:
        """Open a session, renew it, or change its user; the client resumes from `since`.

        Raises:
            SessionRefused: the token is revoked, or the user has too many connections.
            ChannelLayerUnavailable, PresenceUnavailable: Redis is out of reach.
        """
        async with self.lock:
            if self.session is not None and self.session.group == identity.group:
                await self.session.renew(identity, since)
            else:
                await self._leave()
                self.session = self._make_session(identity)
                await self.session.open(since)
                self._has_begun = True
                self._starting = self._tasks.spawn(self._started()) if self._started else None
            self._scope["user"] = identity.user
            self._patience.stop()

    async def end(self, code: str, detail: str, close: int | None = None) -> None:
        """End the session, if there is one; the socket waits for a token or closes."""
        async with self.lock:
            await self._end(code, detail, close)

    async def end_by(self, event: Event) -> None:
        """End the session if a ``ws.end`` event means it."""
        async with self.lock:
            if self.session is not None and self.session.is_ended_by(event):
                await self._end(event["code"], event["detail"], protocol.CLOSE_AUTH)

    def look_again(self, event: Event) -> None:
        """Look again at what the session is allowed, if a ``ws.reauthorize`` event means it."""
        session = self.session
        if session is not None and session.group == event["group"]:
            current_reauthorizer().look_at(session)

    def restamp(self, event: Event) -> None:
        """Go on after a hash was replaced, if a ``ws.restamp`` event means the session."""
        session = self.session
        if session is not None and session.group == event["group"]:
            session.restamp(event["old"], event["new"])

    async def tidy(self, session: Session | None) -> None:
        """Leave the groups that were joined for `session` after its end, if that has come."""
        if session is not None and self.session is None:
            async with self.lock:
                if self.session is None:
                    await self.inbox.leave_groups()

    def deliver(self, parcel: Parcel) -> None:
        """Hand events of this package to the session that they are for."""
        if (session := self.session) is None or session.has_ended:
            return
        if parcel.kind == "ws.presence":
            session.watches.changed(parcel.events[0])
        else:
            session.deliver(parcel)

    async def watch(self, pks: Sequence[Any]) -> None:
        """Follow users' online status. Raises as `Watches.watch`."""
        async with self.lock:
            if self.session is not None:
                await self.session.watches.watch(self.session.user, pks)

    async def unwatch(self, pks: Sequence[Any]) -> None:
        """Stop following users' online status."""
        async with self.lock:
            if self.session is not None:
                await self.session.watches.unwatch(pks)

    def refresh(self, *, is_settled: bool) -> None:
        """Read the online status of watched users again: changes may have been missed."""
        if self.session is not None:
            self._tasks.spawn(self._refresh(is_settled))

    async def _refresh(self, is_settled: bool) -> None:
        async with self.lock:
            try:
                if self.session is not None:
                    await self.session.watches.refresh(may_be_offline=is_settled)
            except PresenceUnavailable as error:
                current_tracker().note_failure(error)  # it refreshes when the store is back

    async def close(self) -> None:
        """Leave: the connection is gone, or about to go."""
        self._patience.stop()
        async with self.lock:
            await self._leave()

    async def _end(self, code: str, detail: str, close: int | None) -> None:
        # Some servers wait for the client's answer to a close frame: the session does not.
        telling = self._tasks.spawn(self._line.fail(code, detail, close))
        self._scope["user"] = AnonymousUser()
        await self._leave()
        await asyncio.wait({telling})
        if close is None:
            self.await_token()

    def _make_session(self, identity: Identity) -> Session:
        layer, channel = self.inbox.layer, self.inbox.channel
        rest = (layer, channel, self._line, self.lock, self._end_soon)
        if identity.is_anonymous:
            return AnonymousSession(identity, self, *rest, address=address_of(self._scope))
        return Session(identity, self, *rest)

    def _leave_aside(self) -> None:
        # No task of the connection, whose end would cancel `session_ended`: `close` waits for it.
        self._leaving = asyncio.create_task(self._tasks.guard(self.close()))

    async def _leave(self) -> None:
        """Take the session down, and what belongs to it."""
        session, starting, has_begun = self.session, self._starting, self._has_begun
        self._starting, self._has_begun = None, False
        if session is None:
            return
        session.stop()
        try:
            await self.inbox.leave_groups()  # and again, when nothing can join any more
            try:
                await _cancel(starting)
            finally:
                await session.close()  # also where the connection's end cancels this
            await self.inbox.leave_groups()
        finally:
            try:
                if has_begun:
                    await _to_its_end(_tell(self._ended, self._tasks.guard))
            finally:
                self.session = None

    def _end_soon(
        self, session: Session, identity: Identity, code: str, detail: str, close: int | None
    ) -> None:
        if session is self.session:
            self._tasks.spawn(self._end_if_same(session, identity, code, detail, close))

    async def _end_if_same(
        self, session: Session, identity: Identity, code: str, detail: str, close: int | None
    ) -> None:
        async with self.lock:  # a newer token may be on its way in
            if session is self.session and session.identity is identity:
                await self._end(code, detail, close)


async def _tell(ended: Callable[[], Coroutine[Any, Any, None]], guard: Guard) -> None:
    try:
        await ended()
    except Exception:
        guard.log_exception("session_ended() failed")


async def _to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Await a step, even where that is cancelled, but then not for ever: the client's answer to the
    close frame ends the tasks of the connection.
    """
    task = asyncio.create_task(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
        task.cancel()
        raise


async def _cancel(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, unless it is the running one, and wait for its end, but not for ever."""
    if task is not None and task is not asyncio.current_task():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
