"""Following other users' online status over one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from channels.db import database_sync_to_async

from ..conf import conf
from ..groups import watch_group
from ..presence.stores import get_store
from ..presence.stores.base import ToldState, ToldStates
from ..protocol import error_frame, json_id, presence_frame
from ..times import datetime_of
from ..types import Event
from ..users import allowed_to_watch, key_of, pk_from_key

__all__ = ["WatchForbidden", "Watches"]


class WatchForbidden(Exception):
    """The project doesn't allow a watch; `str()` says what to do, for the client's developer."""


class _Status(NamedTuple):
    """Last known status of a watched user, its change number, and whether it was sent."""

    seq: int
    is_online: bool
    last_seen: int | None
    is_shown: bool


#: Status before the snapshot.
_UNKNOWN = _Status(-1, False, None, False)


class Watches:
    """The users that one session watches, by key.

    Each change has a number that only grows. `_seen` merges the snapshot and live changes: it drops
    what is older than the last status sent, and what changes nothing. Nothing is lost, because the
    group is joined before the snapshot is taken.

    Args:
        layer: the channel layer.
        channel: the connection's own channel.
        write: sends a text frame to the client.
        namespace: that of the session's user, and so of those whom it may watch.
    """

    def __init__(
        self, layer: Any, channel: str, write: Callable[[str], None], namespace: str
    ) -> None:
        self._namespace = namespace
        self._layer = layer
        self._channel = channel
        self._write = write
        self._seen: dict[str, _Status] = {}

    def __len__(self) -> int:
        return len(self._seen)

    async def watch(self, user: Any, pks: Sequence[Any]) -> None:
        """Watch `pks`, as `user`, and push a snapshot of each, once.

        Raises:
            WatchForbidden: too many, or not all of them are allowed; then none is watched.
            PresenceUnavailable, ChannelLayerUnavailable: Redis is out of reach.
        """
        keys = {key_of(pk, self._namespace): pk for pk in pks}
        fresh = [key for key in keys if key not in self._seen]
        limit = conf.BAZIS_WS_MAX_WATCHED
        if len(self._seen) + len(fresh) > limit:
            raise WatchForbidden(f"A connection may watch {limit} users (BAZIS_WS_MAX_WATCHED).")
        await _ask_project(user, [keys[key] for key in fresh if keys[key] != user.pk])
        try:
            for key in fresh:
                self._seen[key] = _UNKNOWN
                await self._layer.group_add(watch_group(key), self._channel)
            await self._take_snapshot(list(keys), always=True)
        except BaseException:
            await self._unwatch(fresh)
            raise

    async def unwatch(self, pks: Iterable[Any]) -> None:
        """Stop watching those of `pks` that are watched."""
        await self._unwatch(key_of(pk, self._namespace) for pk in pks)

    async def ask_again(self, user: Any) -> None:
        """Ask the project again; stop watching whom `user` may watch no longer, and say so."""
        keys = {pk_from_key(key): key for key in self._seen}
        keys.pop(user.pk, None)
        if not keys:
            return
        allowed = await database_sync_to_async(allowed_to_watch)(user, list(keys))
        refused = [pk for pk in keys if pk not in allowed]
        await self._unwatch([keys[pk] for pk in refused])
        if refused:
            ids = ", ".join(str(json_id(pk)) for pk in refused)
            self._write(error_frame("forbidden", f"You may no longer watch: {ids}"))

    async def clear(self) -> None:
        """Stop watching everybody."""
        await self._unwatch(list(self._seen))

    async def refresh(self, *, may_be_offline: bool) -> None:
        """Read all statuses again and push the changes that were missed.

        Args:
            may_be_offline: whether to push that a user went offline.
        """
        if self._seen:
            await self._take_snapshot(list(self._seen), may_be_offline=may_be_offline)

    def changed(self, event: Event) -> None:
        """Push a change from a ``ws.presence`` event, if it is new to the client."""
        key, seq, is_online = event["user"], int(event["seq"]), event["is_online"]
        known = self._seen.get(key)
        if known is None or seq <= known.seq:
            return  # not watched, or older than what is known
        self._seen[key] = _Status(seq, is_online, event["last_seen"], known.is_shown)
        if known.is_shown and is_online != known.is_online:
            self._show(key)

    async def _unwatch(self, keys: Iterable[str]) -> None:
        for key in keys:
            if self._seen.pop(key, None) is not None:
                await self._layer.group_discard(watch_group(key), self._channel)

    async def _take_snapshot(
        self, keys: list[str], *, always: bool = False, may_be_offline: bool = True
    ) -> None:
        before = dict(self._seen)
        seq, now, states = await get_store().aask(ToldStates(keys))
        for key, state in zip(keys, states, strict=True):
            known = self._seen[key]
            if known.is_online and not state.is_online and not may_be_offline:
                continue
            # A change that came meanwhile may be newer than the snapshot. Where none came, the
            # snapshot is right, even if the store's numbers have gone back.
            if known is before[key] or known.seq < seq:
                self._seen[key] = _status(seq, now, state)
            self._seen[key] = self._seen[key]._replace(is_shown=True)
            if always or self._seen[key].is_online != known.is_online:
                self._show(key)

    def _show(self, key: str) -> None:
        status = self._seen[key]
        last_seen = datetime_of(status.last_seen)
        self._write(presence_frame(pk_from_key(key), status.is_online, last_seen))


def _status(seq: int, now: int, state: ToldState) -> _Status:
    last_seen = now if state.is_online else state.last_seen
    return _Status(seq, state.is_online, last_seen, True)


async def _ask_project(user: Any, pks: list[Any]) -> None:
    """Ask the user model who may be watched."""
    if not pks or set(pks) <= await database_sync_to_async(allowed_to_watch)(user, pks):
        return
    raise WatchForbidden(
        "You may not watch these users. (Developers: watching is closed until the user model's"
        " ws_can_watch() says who may watch whom.)"
    )
