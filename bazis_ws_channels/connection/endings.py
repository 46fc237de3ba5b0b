"""Events of this package that may end a session."""

from __future__ import annotations

from ..types import Event
from .gate import Gate

__all__ = ["Endings"]


class Endings:
    """A consumer's methods for them."""

    _gate: Gate

    async def ws_reauthorize(self, event: Event) -> None:
        """Something that ended sessions could not be told when it happened."""
        self._gate.look_again(event)

    async def ws_restamp(self, event: Event) -> None:
        """The hash of the user's password was replaced, the password wasn't."""
        self._gate.restamp(event)

    async def ws_end(self, event: Event) -> None:
        """The server ends the user's sessions, or those of revoked tokens."""
        await self._gate.end_by(event)
