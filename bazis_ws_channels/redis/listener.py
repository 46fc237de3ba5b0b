"""A watched link for subscriptions at one server, made again after every loss."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from redis.exceptions import RedisError

from ..counters import counts
from .arrivals import Arrivals
from .connection import Connection
from .errors import explain
from .hosts import Host
from .link import TIMEOUT_SECONDS, Link

__all__ = ["Listener", "Owner"]

logger = logging.getLogger("bazis_ws_channels.layers")


class Owner(Protocol):
    """The subscriber that a listener works for."""

    def asked(self, listener: Listener, channel: str) -> None:
        """Note that a SUBSCRIBE was sent."""

    def connected(self, listener: Listener) -> None:
        """Subscribe to all channels that are wanted from the server: there is a new link."""

    def handle(self, listener: Listener, reply: Any) -> tuple[str, bytes] | None:
        """Handle what the server has said; return a message's channel and payload, if it is one."""

    def outage_logged(self) -> None:
        """Note that the loss of the server was logged: its return is to be logged, too."""

    def disconnected(self, listener: Listener) -> None:
        """Note that all subscriptions at the server are lost."""


class Listener:
    """Keeps a link to one server.

    Args:
        find: awaited before each attempt to connect; returns the connection to the server, which
            makes the link and reports failures.
        owner: is told what happens on the link.
        arrivals: where its messages go.

    Attributes:
        link: None while there is no connected link.
        last_error: why there is no link; None once there is one.
    """

    def __init__(
        self, find: Callable[[], Awaitable[Connection]], owner: Owner, arrivals: Arrivals
    ) -> None:
        self.link: Link | None = None
        self.last_error: Exception | None = None
        self._find = find
        self._owner = owner
        self._arrivals = arrivals
        self._server: Connection | None = None  # the one whose failures are watched
        self._task: asyncio.Task[None] | None = None
        self._was_connected = False
        self._failures = 0

    @property
    def host(self) -> Host | None:
        """The server of the current link, or of the last one; None before the first."""
        return None if self._server is None else self._server.host

    def start(self) -> None:
        """Begin to connect, and to stay connected, unless that has begun."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen_forever())

    def command(self, verb: str, channel: str) -> None:
        """Send a command. Without a link, do nothing: the next link subscribes to all that is
        wanted.
        """
        if self.link is not None:
            self.link.command(verb, channel)

    def reconnect(self, instead_of: Link | None = None) -> None:
        """Subscribe again over a new connection: the host's name may now mean another server.

        Args:
            instead_of: the link to give up; nothing is done if it is not the current one any more.
        """
        link = self.link
        if self._task is not None and link is not None and instead_of in (None, link):
            self._task.cancel()
            self._disconnected()
            self._task = asyncio.create_task(self._listen_forever())

    def is_heard_since(self, at: float) -> bool:
        """Tell whether the server has said something over the current link after `at`, in seconds
        by the event loop's clock.
        """
        return self.link is not None and self.link.heard_at > at

    def check(self) -> None:
        """Ping now, and reconnect if nothing comes: the server may be gone."""
        if self.link is not None:
            self.link.ask(partial(self.reconnect, self.link))

    def stop(self) -> asyncio.Future[Any]:
        """Disconnect for good. The owner is told nothing more. Return a future that is done when
        the link is closed.
        """
        self._watch(None)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        return asyncio.gather(*filter(None, [task]), return_exceptions=True)

    # --- listening --------------------------------------------------------------------------

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:
                self.last_error = error
                if self._failures == 0:
                    expected = isinstance(error, RedisError | OSError)
                    what = explain(error) if expected else error
                    logger.error("No subscriptions at Redis: %s", what, exc_info=not expected)
                    self._owner.outage_logged()
            self._failures += 1
            self._disconnected()
            # Up to a second, with jitter, so that not all processes reconnect at once.
            longest = min(1.0, 0.05 * 2 ** min(self._failures, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1))

    async def _listen(self) -> None:
        """Connect, subscribe to all wanted channels, and deliver messages, until an error."""
        server = await self._find()
        self._watch(server)
        link = Link(server.make_link(), partial(self._owner.asked, self))
        try:
            async with asyncio.timeout(max(TIMEOUT_SECONDS, server.host.connect_seconds)):
                await link.connect()
            counts.redis_reconnects += self._was_connected
            self._was_connected = True
            self.link, self.last_error = link, None
            self._owner.connected(self)
            await self._read_all(link)
        except GeneratorExit:
            raise  # the event loop was closed under it: nothing can be awaited any more
        except BaseException:
            self.link = None if self.link is link else self.link
            await link.disconnect()
            raise

    def _watch(self, server: Connection | None) -> None:
        """React to the failures of this server, and no longer to those of the last one."""
        if self._server is not None:
            self._server.demotion_listeners.discard(self.reconnect)
            self._server.failure_listeners.discard(self.check)
        if server is not None:
            server.demotion_listeners.add(self.reconnect)
            server.failure_listeners.add(self.check)
        self._server = server

    async def _read_all(self, link: Link) -> None:
        while True:
            reply = await link.read()
            self._failures = 0
            message = self._owner.handle(self, reply)
            if message is not None:
                await self._arrivals.add(*message)

    def _disconnected(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
        self._owner.disconnected(self)
