"""Telling changes of the online status: to signal receivers and to those who watch."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

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


class Edges:
    """Tells edges one after another, so that a slow receiver delays no connection."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, bool, str]] = []
        self._task: asyncio.Task[None] | None = None

    def tell(self, pk: str, is_online: bool, at: str) -> None:
        """Tell that the user came online or went offline, `at` microseconds since the epoch."""
        self._waiting.append((pk, is_online, at))
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
                await _signal(*edge)


async def _push(edges: list[tuple[str, bool, str]]) -> None:
    """Push the changes to those who watch, together."""
    messages = []
    for pk, is_online, at in edges:
        group = watch_group(pk)
        event = {"type": "ws.presence", "user": pk, "is_online": is_online, "at": at}
        messages.append((group, {**event, "group": group}))
    try:
        await publishing.group_send(messages)
    except PublishError as error:
        # Those who watch look again when the channel layer is back.
        logger.warning("Changes of the online status could not be pushed: %s", error)


async def _signal(pk: str, is_online: bool, at: str) -> None:
    model: Any = get_user_model()
    user_id = pk_from_text(pk)
    signal = user_online if is_online else user_offline
    if not signal.receivers:
        return
    user = SimpleLazyObject(lambda: model._default_manager.get(pk=user_id))
    results = await signal.asend_robust(sender=model, user_id=user_id, user=user, at=from_us(at))
    for receiver, result in results:
        if isinstance(result, Exception):
            logger.error("%r failed.", receiver, exc_info=result)
