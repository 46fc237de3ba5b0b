"""Telling changes of the online status: to signal receivers and to those who watch."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

from channels.db import aclose_old_connections
from django.contrib.auth import get_user_model
from django.utils.functional import SimpleLazyObject

from .. import publishing
from ..exceptions import PublishError
from ..groups import watch_group
from ..identity import pk_from_text
from ..signals import user_offline, user_online
from .reading import from_us

__all__ = ["Edges"]

logger = logging.getLogger("bazis_ws_channels")


class _Edge(NamedTuple):
    """A change of a user's online status; times in microseconds since the epoch, as text."""

    user: str
    is_online: bool
    at: str
    last_seen: str


class Edges:
    """Tells edges one after another, so that a slow receiver delays no connection."""

    def __init__(self) -> None:
        self._waiting: list[_Edge] = []
        self._task: asyncio.Task[None] | None = None

    def tell(self, pk: str, is_online: bool, at: str, last_seen: str) -> None:
        """Tell that the user came online or went offline: when that was told, and when the user
        was last there, in microseconds since the epoch.
        """
        self._waiting.append(_Edge(pk, is_online, at, last_seen))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tell_all())

    async def drain(self) -> None:
        """Wait until everything is told."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _tell_all(self) -> None:
        while self._waiting:
            edges, self._waiting = self._waiting, []
            await _push(edges)
            for edge in edges:
                try:
                    await _signal(edge)
                except Exception:
                    logger.exception("Telling receivers about user %s failed.", edge.user)


async def _push(edges: list[_Edge]) -> None:
    """Push the changes to those who watch, together."""
    messages = []
    for edge in edges:
        group = watch_group(edge.user)
        messages.append((group, {"type": "ws.presence", "group": group, **edge._asdict()}))
    try:
        await publishing.group_send(messages)
    except PublishError as error:
        # Those who watch look again when the channel layer is back.
        logger.warning("Changes of the online status could not be pushed: %s", error)


async def _signal(edge: _Edge) -> None:
    model: Any = get_user_model()
    signal = user_online if edge.is_online else user_offline
    if not signal.receivers:
        return
    user_id, at = pk_from_text(edge.user), from_us(edge.at)
    user = SimpleLazyObject(lambda: model._default_manager.get(pk=user_id))
    await aclose_old_connections()  # receivers may use the database
    await signal.asend_robust(sender=model, user_id=user_id, user=user, at=at)  # logs by itself
