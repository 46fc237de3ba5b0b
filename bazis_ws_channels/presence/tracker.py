"""Presence of one event loop: its sessions, written to the presence store.

A tracker lives as long as its loop. Its cost does not depend on the number of sessions: about two
commands a period (``BAZIS_WS_RENEW_SECONDS``) renew the lease and check that the records are still
there; a session is written when it opens and when it closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ..conf import conf
from ..exceptions import PresenceUnavailable, ServerBusy, SessionRefused
from ..loops import LoopLocal
from ..servers import on_server_stop
from .announcer import Announcer
from .keeper import Keeper
from .lease import Lease
from .roster import Roster, Watcher
from .stores import get_store
from .stores.base import Connect, Connected, Edge, Token, Told
from .upkeep import Job

__all__ = ["Line", "Tracker", "current_tracker"]

#: Sockets that are closed before the event loop gets a turn.
_CLOSES_A_TURN = 100
#: Seconds that clients have to answer the close frame, and between looks whether they have.
_GOING_SECONDS = 5.0
_LOOK_SECONDS = 0.05


class Line(Protocol):
    """An open connection."""

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""

    async def go_down(self) -> None:
        """Close with 4503, for the server stops."""


class Tracker:
    """Keeps one event loop's sessions in the presence store.

    Attributes:
        lines: all open connections of this loop, with a session or without.
        lease: the lease under which the sessions are written.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lines: set[Line] = set()
        self._clock = clock
        self._is_stopping = False
        self.lease = Lease(clock)
        self._roster = Roster(self.lease, clock)
        self._announcer = Announcer(self._confirm)
        self._keeper = Keeper(self.lease, self._roster, self._announcer, clock)
        on_server_stop(self.stop)

    async def connect(self, session_id: str, key: str, watcher: Watcher, token: Token) -> None:
        """Write that a session of the user with this key is open. Calling it again renews it.

        Raises:
            SessionRefused: ``too_many_connections``, or ``invalid_token`` for a revoked one.
            PresenceUnavailable: the store is out of reach.
            ServerBusy: the server stops.
        """
        self.refuse_if_stopping()
        is_new = self._roster.add(session_id, key, watcher)
        try:
            reply = await self._connect(session_id, key, token)
            self._announcer.tell(reply.edges)
            _check(reply)
            self._roster.was_written(session_id)
        except BaseException:
            if is_new:
                await self.disconnect(session_id)
            raise

    def refuse_if_stopping(self) -> None:
        """Let no new session begin when the server stops.

        Raises:
            ServerBusy: it does.
        """
        if self._is_stopping:
            raise ServerBusy(round(random.uniform(0.2, 2), 1))

    async def disconnect(self, session_id: str) -> None:
        """Write that a session is gone. If that fails, it is written later.

        Sessions that end at the same time are written together.
        """
        if self._roster.remove(session_id):
            await self._keeper.write_departures()

    def stop(self) -> Awaitable[None]:
        """Close all connections and take their sessions off at once: the server stops.

        Connections that are open at the call are waited for, even if the server has ended their
        applications meanwhile: their clients are yet to get the close frame.
        """
        self._is_stopping = True
        self._keeper.cancel()
        return self._stop(list(self.lines))

    async def _stop(self, lines: list[Line]) -> None:
        # First what is one call for all: closing many sockets takes its time.
        self._roster.remove_all()
        await self._keeper.write_departures()
        for number, line in enumerate(lines, 1):
            with contextlib.suppress(Exception):  # whatever one connection does
                await line.go_down()
            if number % _CLOSES_A_TURN == 0:
                await asyncio.sleep(0)
        for _ in range(int(_GOING_SECONDS / _LOOK_SECONDS)):
            lines = [line for line in lines if not line.is_gone]
            if not lines:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        await self._announcer.stop()
        self._keeper.leave_graces()
        await self._keeper.release()

    async def close(self) -> None:
        """End the periodic task, because the event loop ends."""
        await self._keeper.close()

    def messages_missed(self) -> None:
        """Check everything again: the channel layer lost its subscriptions, and Redis may have lost
        its memory.
        """
        self.lease.note_break()
        self._keeper.do_now(Job.RENEW, Job.REFRESH)

    def note_failure(self, error: PresenceUnavailable) -> None:
        """Log a failure of the store, once. Everything is checked when it is back."""
        self._keeper.note_failure(error)

    async def _connect(self, session_id: str, key: str, token: Token) -> Connected:
        for _ in range(2):
            await self._keeper.start()
            name = self.lease.name  # another session may find out first that the lease was lost
            limit = conf.BAZIS_WS_MAX_CONNECTIONS
            reply = await get_store().aask(Connect(name, session_id, key, limit, token))
            if reply.verdict != "lost":
                return reply
            await self._keeper.recover(name)
        raise PresenceUnavailable("The presence store forgets this process again and again")

    async def _confirm(self, edges: Sequence[tuple[str, int]]) -> list[Edge]:
        # Those of a lease that was lost meanwhile are this process's, until somebody takes them.
        names = filter(None, (self.lease.name, self.lease.lost_name))
        news = [await get_store().aask(Told(name, edges)) for name in names]
        return [edge for each in news for edge in each]


def _check(reply: Connected) -> None:
    if reply.verdict == "revoked":
        raise SessionRefused("invalid_token", "Token revoked")
    if reply.verdict == "too_many":
        limit = conf.BAZIS_WS_MAX_CONNECTIONS
        raise SessionRefused("too_many_connections", f"At most {limit} connections a user")


_trackers: LoopLocal[Tracker] = LoopLocal(Tracker, Tracker.close)


def current_tracker() -> Tracker:
    """Return the running event loop's tracker."""
    return _trackers.get()
