"""Sessions without a user."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from ..auth.identity import Identity
from ..counters import counts
from ..history.positions import Since
from ..presence.tracker import current_tracker
from .session import Session
from .visitors import current_visitors

__all__ = ["AnonymousSession"]


class AnonymousSession(Session):
    """A session without a user: it is not in presence, and nothing published to it is recorded, for
    a stream costs Redis memory, and anybody can make as many tokens as they like.

    Args:
        address: the client's, as `lobby.address_of` returns it; None if it is not known.
    """

    is_anonymous: ClassVar = True
    recorded: ClassVar[Collection[str]] = ("common",)

    def __init__(self, *args: Any, address: str | None) -> None:
        super().__init__(*args)
        self._address = address

    async def open(self, since: Since | None) -> None:
        """Take a place before Redis is asked for anything; then open like any session.

        Raises:
            SessionRefused: the address has too many anonymous sessions.
            ServerBusy: this event loop has too many, or the server stops.
            ChannelLayerUnavailable: Redis is out of reach.
        """
        current_visitors().enter(self, self._address)
        await super().open(since)

    def stop(self) -> None:
        """Deliver nothing any more."""
        super().stop()
        current_visitors().leave(self)

    def _enlist(self) -> None:
        counts.anonymous += 1

    def _delist(self) -> None:
        counts.anonymous -= 1

    async def _connect(self, identity: Identity) -> None:
        current_tracker().refuse_if_stopping()
