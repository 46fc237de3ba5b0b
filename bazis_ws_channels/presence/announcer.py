"""Announce changes of the online status to watchers and to signal receivers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections
from django.utils.functional import SimpleLazyObject

from .. import sending
from ..exceptions import PresenceUnavailable, PublishError
from ..groups import watch_group
from ..signals import user_offline, user_online
from ..times import datetime_of
from ..users import namespace_of, pk_from_key
from .stores.base import Edge

__all__ = ["Announcer"]

logger = logging.getLogger("bazis_ws_channels")

#: Changes that receivers hear of before they are noted in the store as told.
_BATCH = 40
#: Receivers that run at the same time, sync ones each in a thread of its own.
_WORKERS = 8

Confirm = Callable[[Sequence[tuple[str, int]]], Awaitable[list[Edge]]]


class Announcer:
    """Announces each change once, and notes in the store that it was told.

    Watchers are told at once. Receivers are a project's code, and may be slow: they hear of a
    change after it was pushed, and hold up no other push.

    Changes that can't be pushed or noted are kept for `retry`. Changes that weren't told when the
    process ends are announced by another process; who watches takes no notice of one that was
    pushed before.

    Args:
        confirm: notes changes as told; returns later changes of the same users.
    """

    def __init__(self, confirm: Confirm) -> None:
        self._confirm = confirm
        self._untold: dict[str, Edge] = {}  # all changes in hand, by user key
        self._fresh: list[Edge] = []  # yet to be pushed
        self._waiting: list[Edge] = []  # for the receivers
        self._unpushed: dict[str, Edge] = {}
        self._heard: dict[str, Edge] = {}  # of the unpushed: by the receivers
        self._unconfirmed: list[Edge] = []
        self._pushing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def is_telling(self) -> bool:
        """Whether changes are being told, or are yet to be."""
        return bool(self._running()) or self.has_left_over

    @property
    def has_left_over(self) -> bool:
        """Whether `retry` has anything to do."""
        return bool(self._unpushed or self._unconfirmed)

    def tell(self, edges: Iterable[Edge]) -> None:
        """Announce changes soon. A change that is already in hand is announced once."""
        for edge in edges:
            if self._untold.get(edge.key) != edge:
                self._untold[edge.key] = edge
                self._fresh.append(edge)
        if self._fresh and (self._pushing is None or self._pushing.done()):
            self._pushing = asyncio.create_task(self._push_all())

    async def retry(self) -> None:
        """Push and note again what failed before."""
        told, self._unconfirmed = self._unconfirmed, []
        for round_ in sending.rounds(list(self._unpushed.values())):
            await self._push(round_)
            told += [edge for edge in self._pushed(round_) if self._heard.get(edge.key) == edge]
        for edge in told:
            self._heard.pop(edge.key, None)
        await self._note(told)

    async def drain(self) -> None:
        """Wait until everything is told."""
        while running := self._running():
            await asyncio.wait(running)

    async def stop(self) -> None:
        """Finish the current batch. The rest stays in the store for another process."""
        self._is_stopping = True
        await self.drain()

    def _running(self) -> list[asyncio.Task[None]]:
        tasks = filter(None, (self._pushing, self._telling))
        return [task for task in tasks if not task.done()]

    async def _push_all(self) -> None:
        while self._fresh and not self._is_stopping:
            edges, self._fresh = self._fresh, []
            for round_ in sending.rounds(edges):
                await self._push(round_)
                self._waiting += round_
                if self._telling is None or self._telling.done():
                    self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while self._waiting and not self._is_stopping:
            edges, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            await _signal_all(edges)
            pushed = self._pushed(edges)
            self._heard.update((edge.key, edge) for edge in edges if edge not in pushed)
            await self._note(pushed)

    def _pushed(self, edges: Sequence[Edge]) -> list[Edge]:
        return [edge for edge in edges if self._unpushed.get(edge.key) != edge]

    async def _push(self, edges: Sequence[Edge]) -> None:
        """Push changes to their watchers, in one go."""
        try:
            await sending.asend([_message(edge) for edge in edges])
        except PublishError as error:
            logger.warning("Changes of the online status are yet to be pushed: %s", error)
            self._unpushed.update((edge.key, edge) for edge in edges)
            return
        for edge in edges:
            if self._unpushed.get(edge.key) == edge:
                del self._unpushed[edge.key]

    async def _note(self, edges: Sequence[Edge]) -> None:
        if not edges:
            return
        try:
            news = await self._confirm([(edge.key, edge.seq) for edge in edges])
        except PresenceUnavailable:
            self._unconfirmed.extend(edges)
            return
        for edge in edges:
            if self._untold.get(edge.key) == edge:
                del self._untold[edge.key]
        self.tell(news)


def _message(edge: Edge) -> tuple[str, dict[str, Any]]:
    group = watch_group(edge.key)
    return group, {
        "type": "ws.presence",
        "group": group,
        "user": edge.key,
        "seq": edge.seq,
        "is_online": edge.is_online,
        "last_seen": edge.last_seen,
    }


async def _signal_all(edges: Sequence[Edge]) -> None:
    """Call the receivers, a few changes at a time."""
    waiting = [edge for edge in edges if _signal_of(edge).receivers]
    workers = min(len(waiting), _WORKERS)
    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(_work(waiting[number::workers]))


async def _work(edges: Sequence[Edge]) -> None:
    # Without its own thread, all sync receivers would run in the process's single shared one.
    async with ThreadSensitiveContext():
        try:
            for edge in edges:
                await _signal(edge)
        finally:
            await sync_to_async(connections.close_all)()


async def _signal(edge: Edge) -> None:
    model: Any = get_user_model()
    try:
        user_id = pk_from_key(edge.key)
        user = SimpleLazyObject(lambda: model._default_manager.get(pk=user_id))
        await _signal_of(edge).asend_robust(  # logs by itself
            sender=model,
            user_id=user_id,
            user=user,
            at=datetime_of(edge.at),
            namespace=namespace_of(edge.key),
        )
    except Exception:
        logger.exception("Telling receivers about user %s failed.", edge.key)


def _signal_of(edge: Edge) -> Any:
    return user_online if edge.is_online else user_offline
