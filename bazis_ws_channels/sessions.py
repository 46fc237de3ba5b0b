"""An authenticated stretch of a connection: its groups, its presence, its end."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from typing import TYPE_CHECKING, Any

from .authentication import Identity
from .groups import COMMON_CHANNEL, user_group
from .presence.agent import Agent
from .protocol import subscribed_frame
from .watching import Watches

if TYPE_CHECKING:
    from .consumers import UserWsConsumer

__all__ = ["Session"]


class Session:
    """One user's session on one connection.

    From `open` on it takes what is pushed to its groups; what comes before the session is live
    waits, so that nothing that `ws_publish` counted is lost, and nothing is seen by someone who
    is refused in the end.
    """

    __slots__ = (
        "_consumer",
        "_expiry",
        "_held",
        "group",
        "id",
        "identity",
        "is_live",
        "pk",
        "user",
        "watches",
    )

    def __init__(self, consumer: UserWsConsumer, identity: Identity) -> None:
        self.id = secrets.token_hex(8)
        self.identity = identity
        self.user = identity.user
        self.pk = identity.user.pk
        self.group = user_group(self.pk)
        self.is_live = False
        self.watches = Watches(consumer.channel_layer, consumer.channel_name, consumer.push)
        self._consumer = consumer
        self._held: list[str] = []
        self._expiry: asyncio.TimerHandle | None = None

    async def open(self, identity: Identity) -> None:
        """Join the groups, write the presence, tell the client.

        Raises:
            SessionRefused: the token is revoked, or the user has too many connections.
            ChannelLayerUnavailable, PresenceUnavailable: Redis is out of reach.
        """
        layer, channel = self._consumer.channel_layer, self._consumer.channel_name
        # First the groups, then the look at revocations: who is revoked in between is told so
        # through the group.
        await layer.group_add(self.group, channel)
        await layer.group_add(COMMON_CHANNEL, channel)
        await Agent.current().connect(self.id, self._consumer, identity)
        self._start(identity)
        held, self._held = self._held, []
        for frame in held:
            self._consumer.push(frame)

    async def renew(self, identity: Identity) -> None:
        """Go on with a newer token of the same user; groups and watches stay.

        Raises:
            SessionRefused: the token is revoked.
            PresenceUnavailable: Redis is out of reach.
        """
        await Agent.current().connect(self.id, self._consumer, identity)
        self.identity, self.user = identity, identity.user
        self._start(identity)

    async def close(self) -> None:
        """Leave the groups and take the presence off. Waits for Redis, raises nothing of it."""
        self.is_live = False
        if self._expiry is not None:
            self._expiry.cancel()
        layer, channel = self._consumer.channel_layer, self._consumer.channel_name
        await self.watches.clear()
        await layer.group_discard(self.group, channel)
        await layer.group_discard(COMMON_CHANNEL, channel)
        await Agent.current().disconnect(self.id)

    def deliver(self, group: str, frame: str) -> None:
        """Push a frame that was sent to `group`, if it is for this session."""
        if group not in (self.group, COMMON_CHANNEL):
            return  # a former session's, still in the queue
        if self.is_live:
            self._consumer.push(frame)
        else:
            self._held.append(frame)

    def is_ended_by(self, event: dict[str, Any]) -> bool:
        """Tell whether an ``ws.end`` event means this session: all of the user's, those of one
        token (``jti``), or those of tokens issued before a moment (``before``, in us).
        """
        if event["group"] != self.group:
            return False
        claims, jti, before = self.identity.claims, event.get("jti"), event.get("before")
        if jti is not None:
            return claims is not None and claims.jti == jti
        if before is not None:
            issued_us = self.identity.issued_us
            return claims is not None and (not issued_us or int(issued_us) < before)
        return True

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
            self._expiry = loop.call_later(left, self._consumer.expire, self, identity)
        self.is_live = True
        self._consumer.push(subscribed_frame(self.pk, expires_in))
