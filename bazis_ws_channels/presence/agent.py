"""The presence of one event loop's connections: its lease, its records, its edges.

An agent lives as long as its loop has connections. What it costs does not depend on how many:
one command a period (``BAZIS_WS_RENEW_SECONDS``) renews the lease; a connection is written when
it opens and when it closes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
import weakref
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from ..authentication import Identity
from ..conf import conf
from ..exceptions import PresenceUnavailable, SessionRefused
from .edges import Edges
from .shutdown import on_server_stop
from .store import get_store

__all__ = ["Agent", "Connection"]

logger = logging.getLogger("bazis_ws_channels")

#: Connections or users that one script call works on, so that Redis is never busy for long.
_BATCH = 500
#: Without peers there is nobody to look after: only what earlier processes left behind.
_LONELY_SWEEP_SECONDS = 60.0


class Connection(Protocol):
    """What an agent tells a connection."""

    def refresh(self, *, is_settled: bool) -> None:
        """Messages may have been missed: look again at who is online. Before things are settled,
        who seems offline may only be on its way back.
        """

    async def going_down(self) -> None:
        """The server stops: close the socket with 4503 and return when it is gone."""


class Agent:
    """Keeps one event loop's connections in the presence store."""

    _agents: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Agent]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self) -> None:
        self.process = ""
        #: Open sockets of this loop, with a session or without.
        self.sockets: set[Connection] = set()
        #: Sessions: connection id -> pk as text, socket.
        self.connections: dict[str, tuple[str, Connection]] = {}
        self._departed: dict[str, str] = {}
        self._forgotten: dict[str, str] = {}
        #: The process whose lease was lost, and whether its connections are yet to be restored.
        self._lost = ""
        self._must_restore = False
        self._must_refresh = self._must_refresh_again = False
        self._edges = Edges()
        self._task: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._registering = asyncio.Lock()
        self._has_peers = False
        self._renewed_at = 0.0
        self._unbroken_since = 0.0
        self._next_sweep = 0.0
        self._waits_for_grace = False
        self._failed = False

    @classmethod
    def current(cls) -> Agent:
        """Return the running event loop's agent."""
        loop = asyncio.get_running_loop()
        agent = cls._agents.get(loop)
        if agent is None:
            agent = cls._agents[loop] = cls()
            on_server_stop(agent.stop)
        return agent

    # --- connections ------------------------------------------------------------------------

    async def connect(self, connection_id: str, connection: Connection, identity: Identity) -> None:
        """Write that a connection of `identity` is open; the same again renews it.

        Raises:
            SessionRefused: ``too_many_connections``, or ``invalid_token`` for a revoked one.
            PresenceUnavailable: the store is out of reach.
        """
        pk = str(identity.user.pk)
        is_new = connection_id not in self.connections
        self.connections[connection_id] = (pk, connection)
        try:
            verdict, came_online, at = await self._connect(connection_id, pk, identity)
            _check(verdict)
        except BaseException:
            if is_new:
                await self._take_back(connection_id, pk)
            raise
        if came_online:
            self._edges.tell(pk, True, at, at)

    async def disconnect(self, connection_id: str) -> None:
        """Write that a connection is gone; what can't be written now is, later.

        Connections that go at the same time are written together.
        """
        pk, _ = self.connections.pop(connection_id, (None, None))
        if pk is None:
            return
        # While Redis may not know of the connection, that it is gone must be told all the same.
        (self._forgotten if self._must_restore else self._departed)[connection_id] = pk
        await self._flush()

    async def stop(self) -> None:
        """Close all connections and take them off at once: the server stops."""
        if self._task is not None:
            self._task.cancel()
        going = [connection.going_down() for connection in self.sockets]
        await asyncio.gather(*going, return_exceptions=True)
        for connection_id, (pk, _) in self.connections.items():
            self._departed[connection_id] = pk
        self.connections.clear()
        await self._flush()
        self._waits_for_grace = False  # a peer's to tell, or that of the next process
        await self._release()

    async def _connect(self, connection_id: str, pk: str, identity: Identity) -> Any:
        for _ in range(2):
            await self._ensure_registered()
            process = self.process  # another connection may find the loss first, and recover
            reply = await get_store().acall(
                "connect",
                *(process, connection_id, pk, conf.BAZIS_WS_MAX_CONNECTIONS),
                *(identity.issued_us, identity.jti, identity.age_us),
            )
            if reply[0] != "lost":
                return reply
            await self._recover(process)
        raise PresenceUnavailable("The presence store forgets this process again and again.")

    async def _take_back(self, connection_id: str, pk: str) -> None:
        """Undo what a refused, failed or cancelled `connect` may have written."""
        if self.connections.pop(connection_id, None) is not None:
            self._departed[connection_id] = pk
            await self._flush()

    async def _flush(self) -> None:
        """Write the departures; several callers share one call."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._write_departures())
        await asyncio.shield(self._flushing)

    async def _write_departures(self) -> None:
        await asyncio.sleep(0)  # let the others that go in this turn of the loop come along
        try:
            for departed, forgotten in ((self._departed, False), (self._forgotten, True)):
                while departed:
                    batch = dict(list(departed.items())[:_BATCH])
                    await self._write_batch(batch, forgotten)
                    for connection_id in batch:
                        departed.pop(connection_id, None)
        except PresenceUnavailable as error:
            self.note_failure(error)

    async def _write_batch(self, batch: dict[str, str], forgotten: bool) -> None:
        grace = conf.BAZIS_WS_OFFLINE_GRACE_SECONDS
        # What Redis forgot may be another process's to restore: give it the time for that.
        grace += conf.BAZIS_WS_LEASE_SECONDS if forgotten else 0
        left = await get_store().acall(
            "disconnect",
            *(self.process, _us(grace), _us(conf.BAZIS_WS_LAST_SEEN_SECONDS)),
            *(self._lost if forgotten else "", *_flat(batch.items())),
        )
        if left:
            self._sweep_in(grace)

    # --- the process ------------------------------------------------------------------------

    async def _ensure_registered(self) -> None:
        async with self._registering:
            if not self.process:
                await self._register()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())

    async def _register(self) -> None:
        process = secrets.token_hex(8)
        reply = await get_store().acall("register", process, _lease_ms())
        self.process = process
        self._has_peers = reply == "peers"
        self._renewed_at = self._unbroken_since = time.monotonic()
        self._must_refresh_again = True
        self._next_sweep = 0.0

    async def _recover(self, lost: str) -> None:
        """Write everything again, as a new process: the old one is dead to the others."""
        async with self._registering:
            if self.process != lost:
                return
            await self._register()
            self._lost, self._must_restore = lost, True
            # Departures that Redis never heard of: nobody else can tell them.
            self._forgotten.update(self._departed)
            self._departed.clear()
        logger.warning("The presence lease was lost; writing the connections again.")
        await self._restore()

    async def _restore(self) -> None:
        """Write what was lost; where that fails, the periodic task tries again."""
        known = [(connection_id, pk) for connection_id, (pk, _) in self.connections.items()]
        for start in range(0, len(known), _BATCH):
            batch = [pair for pair in known[start : start + _BATCH] if pair[0] in self.connections]
            at, came_online = await get_store().acall(
                "restore", self.process, self._lost, *_flat(batch)
            )
            for pk in came_online:
                self._edges.tell(pk, True, at, at)
            # Who went meanwhile was taken off before this wrote it: take it off again.
            gone = [pair for pair in batch if pair[0] not in self.connections]
            self._departed.update(gone)
        self._must_restore = False
        self._must_refresh = True
        self._wake.set()

    async def _release(self) -> bool:
        """Leave no trace of a process without connections; False if one came meanwhile."""
        async with self._registering:
            if self._is_busy():
                return False
            self._task = None
            process, self.process = self.process, ""
            if process:
                try:
                    await get_store().acall("release", process)
                except PresenceUnavailable as error:
                    self.note_failure(error)  # the lease ends by itself; a peer buries the rest
            return True

    def messages_missed(self) -> None:
        """The channel layer was away, and perhaps Redis, with or without its memory: see."""
        self._must_refresh = True
        self._wake.set()

    def _refresh(self) -> None:
        self._must_refresh = False
        self._must_refresh_again = not self._is_settled()
        for _, connection in tuple(self.connections.values()):
            connection.refresh(is_settled=not self._must_refresh_again)

    def _is_settled(self) -> bool:
        """After a loss, peers need a lease's time to renew theirs before they are called dead."""
        return time.monotonic() - self._unbroken_since >= conf.BAZIS_WS_LEASE_SECONDS

    # --- the periodic task ------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            while self._is_busy():
                await self._sleep()
                try:
                    await self._tick()
                except PresenceUnavailable as error:
                    self.note_failure(error)
                except Exception:
                    logger.exception("The presence task failed; it goes on.")
                    self._next_sweep = time.monotonic() + conf.BAZIS_WS_RENEW_SECONDS
            await self._edges.drain()
            if await self._release():
                return

    def _is_busy(self) -> bool:
        return bool(self.connections or self._departed or self._forgotten or self._waits_for_grace)

    async def _sleep(self) -> None:
        # Never longer than the period, which the promises of presence are made of.
        seconds = conf.BAZIS_WS_RENEW_SECONDS * random.uniform(0.9, 1.0)
        if self._failed:
            seconds /= 5  # the lease goes on running out; whatever is due waits as long
        else:
            seconds = max(0.0, min(seconds, self._next_sweep - time.monotonic()))
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _tick(self) -> None:
        age = time.monotonic() - self._renewed_at
        if age >= 0.75 * conf.BAZIS_WS_RENEW_SECONDS or self._failed or self._must_refresh:
            await self._renew()
        if self._must_restore:
            await self._restore()
        if self._departed or self._forgotten:
            await self._flush()
        if time.monotonic() >= self._next_sweep:
            await self._sweep()
        if self._must_refresh:
            self._refresh()

    async def _renew(self) -> None:
        started_at, process = time.monotonic(), self.process
        peers = await get_store().acall("renew", process, _lease_ms())
        is_late = started_at - self._renewed_at > conf.BAZIS_WS_LEASE_SECONDS
        if self._failed or self._must_refresh or is_late:
            self._unbroken_since = started_at  # peers could not renew either
        self._renewed_at = started_at
        if self._failed:
            self._failed = False
            self._must_refresh = True
            logger.info("The presence store is back.")
        if peers is None:
            return await self._recover(process)
        if peers == "peers" and not self._has_peers:
            self._has_peers = True
            self._next_sweep = 0.0

    async def _sweep(self) -> None:
        """Find the users of dead processes, and those whose grace is over."""
        is_settled = self._is_settled()
        # What this process was before is dead for sure, once its connections are restored.
        whom = "*" if is_settled else "" if self._must_restore else self._lost
        while True:
            at, more, next_due, peers, went_offline = await get_store().acall(
                "sweep", self.process, _BATCH, whom
            )
            for pk, last_seen in zip(went_offline[::2], went_offline[1::2], strict=True):
                self._edges.tell(pk, False, at, last_seen)
            if not more:
                break
        self._has_peers = bool(peers)
        period = conf.BAZIS_WS_RENEW_SECONDS if peers else _LONELY_SWEEP_SECONDS
        self._next_sweep = time.monotonic() + random.uniform(0.9, 1.0) * period
        if is_settled and self._must_refresh_again:
            self._must_refresh = True
        if not is_settled:
            guarded_until = self._unbroken_since + conf.BAZIS_WS_LEASE_SECONDS
            self._next_sweep = min(self._next_sweep, guarded_until + 0.05)
        self._waits_for_grace = bool(next_due)
        if next_due:
            self._sweep_in((float(next_due) - float(at)) / 1_000_000)

    def _sweep_in(self, seconds: float) -> None:
        """Sweep when a grace is over, and a little later than that: more may be due by then."""
        self._waits_for_grace = True
        due = time.monotonic() + seconds + random.uniform(0.05, 0.25)
        if due < self._next_sweep:
            self._next_sweep = due
            self._wake.set()

    def note_failure(self, error: PresenceUnavailable) -> None:
        """Log that the store is out of reach, once; connections look again when it is back."""
        if not self._failed:
            logger.error("%s Connections stay open; presence is written when it is back.", error)
        self._failed = True


def _check(verdict: str) -> None:
    if verdict == "revoked":
        raise SessionRefused("invalid_token", "Token revoked")
    if verdict == "too_many":
        limit = conf.BAZIS_WS_MAX_CONNECTIONS
        raise SessionRefused("too_many_connections", f"At most {limit} connections a user")


def _lease_ms() -> int:
    return int(conf.BAZIS_WS_LEASE_SECONDS * 1000)


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _flat(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [part for pair in pairs for part in pair]
