"""An authenticated stretch of a connection: its groups, its presence, its end."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from typing import Any

from ..auth.identity import Identity
from ..groups import common_group, key_group
from ..presence.roster import Watcher
from ..presence.tracker import current_tracker
from ..protocol import subscribed_frame
from ..types import Event
from ..users import namespace_of
from .watches import Watches

__all__ = ["Session"]

Expire = Callable[["Session", Identity], None]


class Session:
    """One user's session on one connection.

    From `open` on it takes what is pushed to its groups; what comes before the session is live
    waits, so that nothing that `ws_publish` counted is lost, and nothing is seen by someone who
    is refused in the end.

    Args:
        watcher: what looks again at who is online when changes may have been missed.
        layer: the channel layer.
        channel: the connection's own channel.
        write: sends a text frame to the client.
        expire: called when the token's time has passed.
    """

    def __init__(
        self,
        identity: Identity,
        watcher: Watcher,
        layer: Any,
        channel: str,
        write: Callable[[str], None],
        expire: Expire,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.identity = identity
        self.pk = identity.user.pk
        self.group = key_group(identity.key)
        namespace = namespace_of(identity.key)
        self.common_group = common_group(namespace)
        self.is_live = False
        self.watches = Watches(layer, channel, write, namespace)
        self._watcher = watcher
        self._layer = layer
        self._channel = channel
        self._write = write
        self._expire = expire
        self._held: list[str] = []
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def user(self) -> Any:
        """The user, as loaded when the newest token was accepted."""
        return self.identity.user

    async def open(self) -> None:
        """Join the groups, write the presence, tell the client.

        Raises:
            SessionRefused: the token is revoked, or the user has too many connections.
            ChannelLayerUnavailable, PresenceUnavailable: Redis is out of reach.
        """
        # Join the groups before looking at revocations: who is revoked in between is told so
        # through the group.
        await self._layer.group_add(self.group, self._channel)
        await self._layer.group_add(self.common_group, self._channel)
        await self._connect(self.identity)
        self._start(self.identity)
        held, self._held = self._held, []
        for frame in held:
            self._write(frame)

    async def renew(self, identity: Identity) -> None:
        """Go on with a newer token of the same user; groups and watches stay.

        Raises:
            SessionRefused: the token is revoked.
            PresenceUnavailable: Redis is out of reach.
        """
        await self._connect(identity)
        self.identity = identity
        self._start(identity)

    async def close(self) -> None:
        """Leave the groups and take the presence off. Waits for Redis, raises nothing of it."""
        self.is_live = False
        if self._expiry is not None:
            self._expiry.cancel()
        await self.watches.clear()
        await self._layer.group_discard(self.group, self._channel)
        await self._layer.group_discard(self.common_group, self._channel)
        await current_tracker().disconnect(self.id)

    def deliver(self, group: str, frame: str) -> None:
        """Push a frame that was sent to `group`, if it is for this session."""
        if group not in (self.group, self.common_group):
            return  # a former session's, still in the queue
        if self.is_live:
            self._write(frame)
        else:
            self._held.append(frame)

    def is_ended_by(self, event: Event) -> bool:
        """Tell whether a ``ws.end`` event means this session: all of the user's, those of one
        token (``jti``), or those of tokens issued before a moment (``before``, in us).
        """
        if event["group"] != self.group:
            return False
        claims, jti, before = self.identity.claims, event.get("jti"), event.get("before")
        if jti is not None:
            return claims is not None and claims.jti == jti
        if before is not None:
            issued_us = self.identity.issued_us
            return claims is not None and (issued_us is None or issued_us < before)
        return True

    async def _connect(self, identity: Identity) -> None:
        await current_tracker().connect(self.id, identity.key, self._watcher, identity.token)

    def _start(self, identity: Identity) -> None:
        """Start, or go on, until the token's end."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        expires_in = None
        if identity.expires_at is not None:
            left = max(0.0, identity.expires_at - time.time())
            expires_in = math.floor(left)
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(left, self._expire, self, identity)
        self.is_live = True
        self._write(subscribed_frame(self.pk, expires_in))
