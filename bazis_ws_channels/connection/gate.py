"""Who sits on one connection: one session after another, and the wait for a token in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from django.contrib.auth.models import AnonymousUser

from .. import protocol
from ..auth.identity import Identity
from ..conf import conf
from ..types import Event, Scope
from .session import Session
from .tasks import Tasks

__all__ = ["Gate"]

Fail = Callable[[str, str, int | None], Awaitable[None]]


class Gate:
    """Opens, renews, changes and ends the session of one connection, one step at a time.

    Args:
        scope: its ``user`` is kept true.
        tasks: those of the connection.
        make_session: makes a session for an identity, not open yet; its second argument is
            called when the token's time has passed.
        fail: tells the client an error code and a detail, and closes with the code given, if any.
        started: awaited, in a task of its own, when a session has begun.
        guard: awaits a coroutine and turns what it raises into errors of the protocol.

    Attributes:
        session: the session, live or about to be; None without one.
        lock: held while the session changes.
    """

    def __init__(
        self,
        scope: Scope,
        tasks: Tasks,
        make_session: Callable[[Identity, Callable[[Session, Identity], None]], Session],
        fail: Fail,
        started: Callable[[], Awaitable[None]],
        guard: Callable[[Any], Any],
    ) -> None:
        self.session: Session | None = None
        self.lock = asyncio.Lock()
        self._scope = scope
        self._tasks = tasks
        self._make_session = make_session
        self._fail = fail
        self._started = started
        self._guard = guard
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_live(self) -> bool:
        """Whether there is a session to which messages arrive."""
        return self.session is not None and self.session.is_live

    def await_token(self) -> None:
        """Close the socket unless a valid token comes in time."""
        if self._timer is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(conf.BAZIS_WS_AUTH_TIMEOUT, self._timed_out)

    async def admit(self, identity: Identity) -> None:
        """Open a session, renew it, or change its user.

        Raises:
            SessionRefused: the token is revoked, or the user has too many connections.
            ChannelLayerUnavailable, PresenceUnavailable: Redis is out of reach.
        """
        async with self.lock:
            if self.session is not None and self.session.identity.key == identity.key:
                await self.session.renew(identity)
            else:
                await self._leave()
                self.session = self._make_session(identity, self._expire)
                await self.session.open()
                self._tasks.spawn(self._guard(self._started()))
            self._scope["user"] = identity.user
            self._stop_timer()

    async def end(self, code: str, detail: str, close: int | None = None) -> None:
        """End the session, if there is one; the socket waits for a token or closes."""
        async with self.lock:
            await self._end(code, detail, close)

    async def end_by(self, event: Event) -> None:
        """End the session if a ``ws.end`` event means it."""
        async with self.lock:
            if self.session is not None and self.session.is_ended_by(event):
                await self._end(event["code"], event["detail"], protocol.CLOSE_AUTH)

    async def close(self) -> None:
        """Leave: the connection is gone."""
        self.closing()
        async with self.lock:
            await self._leave()

    def closing(self) -> None:
        """Wait for tokens no more: the connection ends."""
        self._is_closed = True
        self._stop_timer()

    async def _end(self, code: str, detail: str, close: int | None) -> None:
        await self._fail(code, detail, close)
        self._scope["user"] = AnonymousUser()
        await self._leave()
        if close is None:
            self.await_token()

    async def _leave(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            await session.close()

    def _expire(self, session: Session, identity: Identity) -> None:
        if session is self.session:
            self._tasks.spawn(self._guard(self._expired(session, identity)))

    async def _expired(self, session: Session, identity: Identity) -> None:
        async with self.lock:  # a newer token may be on its way in
            if session is self.session and session.identity is identity:
                await self._end("expired_token", "Token expired", None)

    def _timed_out(self) -> None:
        self._timer = None
        detail = "No valid token within the time"
        self._tasks.spawn(self._guard(self._fail("auth_timeout", detail, protocol.CLOSE_AUTH)))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
