"""What clients ask to follow other users' online status."""

from __future__ import annotations

from typing import Any

from ..conf import conf
from ..protocol import BadMessage
from ..users import pk_from_json
from .gate import Gate
from .outgoing import Outgoing
from .watches import WatchForbidden

__all__ = ["Following"]

#: How often a list may name each user that may be watched.
_REPEATS = 10


class Following(Outgoing):
    """A consumer's methods for it."""

    _gate: Gate

    async def client_watch(self, content: dict[str, Any]) -> None:
        """Follow users' online status."""
        try:
            await self._gate.watch(_watched(content))
        except WatchForbidden as error:
            await self.fail("forbidden", str(error))

    async def client_unwatch(self, content: dict[str, Any]) -> None:
        """Follow them no longer."""
        try:
            await self._gate.unwatch(_watched(content))
        except WatchForbidden as error:
            await self.fail("forbidden", str(error))


def _watched(content: dict[str, Any]) -> list[Any]:
    """Return the primary keys that a `watch` or `unwatch` names, each once."""
    users, limit = content.get("users"), conf.BAZIS_WS_MAX_WATCHED
    if not isinstance(users, list):
        raise BadMessage("`users` must be a list of ids.")
    if len(users) > limit * _REPEATS:  # before anything is built of it
        raise WatchForbidden(f"A connection may watch {limit} users (BAZIS_WS_MAX_WATCHED).")
    try:
        # By their text: integers can be chosen so that their hashes are all the same.
        return list({str(user): pk_from_json(user) for user in users}.values())
    except ValueError as error:
        raise BadMessage(f"`users`: {error}") from None
