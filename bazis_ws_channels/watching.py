"""Following other users' online status over one connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from channels.db import database_sync_to_async

from .conf import conf
from .groups import watch_group
from .identity import pk_from_text
from .presence.reading import from_us
from .presence.store import get_store
from .protocol import presence_frame

__all__ = ["WatchForbidden", "Watches"]


class WatchForbidden(Exception):
    """The project doesn't allow a watch; `str()` says what to do, for the client's developer."""


class _Status(NamedTuple):
    """What is known of a watched user: since when (us), and whether the client was told."""

    at: float
    is_online: bool
    last_seen: str
    is_shown: bool


#: Before the snapshot.
_UNKNOWN = _Status(-1, False, "", False)


class Watches:
    """The users that one session watches.

    Each change carries the moment at which it was made, by the presence store's clock. A
    snapshot and the live changes meet in `_seen`: what is older than what the client was told
    last is dropped, and so is what changes nothing. Nothing is lost, for the group is joined
    before the snapshot is taken.

    Args:
        push: sends a text frame to the client.
    """

    __slots__ = ("_channel", "_layer", "_push", "_seen")

    def __init__(self, layer: Any, channel: str, push: Callable[[str], None]) -> None:
        self._layer = layer
        self._channel = channel
        self._push = push
        self._seen: dict[str, _Status] = {}  # by pk as text

    async def watch(self, user: Any, pks: list[Any]) -> None:
        """Watch `pks`, as `user`, and push a snapshot of each, once.

        Raises:
            WatchForbidden: too many, or not all of them are allowed; then none is watched.
            PresenceUnavailable, ChannelLayerUnavailable: Redis is out of reach.
        """
        texts = [str(pk) for pk in pks]
        fresh = [text for text in texts if text not in self._seen]
        if len(self._seen) + len(fresh) > conf.BAZIS_WS_MAX_WATCHED:
            raise WatchForbidden(
                f"A connection may watch {conf.BAZIS_WS_MAX_WATCHED} users (BAZIS_WS_MAX_WATCHED)."
            )
        await _ask_project(user, [pk for pk in pks if str(pk) in fresh and pk != user.pk])
        try:
            for text in fresh:
                self._seen[text] = _UNKNOWN
                await self._layer.group_add(watch_group(text), self._channel)
            await self._snapshot(texts, always=True)
        except BaseException:
            await self.unwatch(fresh)
            raise

    async def unwatch(self, pks: Iterable[Any]) -> None:
        """Stop watching those of `pks` that are watched."""
        for text in map(str, pks):
            if self._seen.pop(text, None) is not None:
                await self._layer.group_discard(watch_group(text), self._channel)

    async def clear(self) -> None:
        """Stop watching everybody."""
        await self.unwatch(list(self._seen))

    async def refresh(self, *, may_be_offline: bool) -> None:
        """Look again, for changes may have been missed; push those that were.

        Args:
            may_be_offline: believe it if a user seems to have gone.
        """
        if self._seen:
            await self._snapshot(list(self._seen), may_be_offline=may_be_offline)

    def changed(self, event: dict[str, Any]) -> None:
        """Push a change that another process told, if it is news to the client."""
        text, at, is_online = event["user"], float(event["at"]), event["is_online"]
        known = self._seen.get(text)
        if known is None or at <= known.at:
            return  # not watched, or older than what is known
        self._seen[text] = _Status(at, is_online, event["last_seen"], known.is_shown)
        if known.is_shown and is_online != known.is_online:
            self._show(text)

    async def _snapshot(
        self, texts: list[str], *, always: bool = False, may_be_offline: bool = True
    ) -> None:
        before = dict(self._seen)
        now, *fields = await get_store().acall("told", *texts)
        for text, told, last_seen in zip(texts, fields[::2], fields[1::2], strict=True):
            status = known = self._seen[text]
            if known.is_online and not told and not may_be_offline:
                continue
            # A change that came meanwhile may be newer than the snapshot. Where none came, the
            # snapshot is right, even if the store's clock has gone back.
            if known is before[text] or known.at < float(now):
                status = _Status(float(now), bool(told), now if told else last_seen, True)
            self._seen[text] = status._replace(is_shown=True)
            if always or status.is_online != known.is_online:
                self._show(text)

    def _show(self, text: str) -> None:
        status = self._seen[text]
        pk, last_seen = pk_from_text(text), from_us(status.last_seen)
        self._push(presence_frame(pk, status.is_online, last_seen))


async def _ask_project(user: Any, pks: list[Any]) -> None:
    """Ask the user model who may be watched."""
    if not pks:
        return
    decide = getattr(user, "ws_can_watch", None)
    allowed = await database_sync_to_async(_decide)(decide, pks) if decide else ()
    if allowed is True or (allowed and set(pks) <= set(allowed)):
        return
    raise WatchForbidden(
        "You may not watch these users. (Developers: watching is closed until the user model's"
        " ws_can_watch() says who may watch whom.)"
    )


def _decide(decide: Callable[[list[Any]], Any], pks: list[Any]) -> Any:
    allowed = decide(pks)
    return allowed if isinstance(allowed, bool) or allowed is None else list(allowed)
