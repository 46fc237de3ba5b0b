"""Where a user's messages are now, for the page or the answer that loads the first state.

Read the position first, the data second, and give both to the client: whatever is published in
between is replayed when the client connects with that position.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from . import sending
from .conf import conf
from .exceptions import PublishError
from .groups import common_group, user_group
from .history.base import Streams
from .history.positions import STREAMS, UNKNOWN, Position
from .users import in_space, pk_of

__all__ = ["aposition", "position"]

logger = logging.getLogger("bazis_ws_channels")


def position(user: Any) -> dict[str, str] | None:
    """Return the position of `user` (an instance or a primary key); None where nothing is recorded.

    While Redis is out of reach it is one that nothing can be replayed from: the client is told so
    when it connects, and loads its state again.

    Raises:
        TypeError, ValueError: `user` is no user.
        SynchronousOnlyOperation: called on an event loop; use `aposition`.
    """
    sending.refuse_on_loop("aposition")
    groups, layer = _groups(user), sending.channel_layer()
    streams: Streams | None = getattr(layer, "streams", None)
    if streams is None or not streams.is_on:
        return None
    try:
        with sending.Attempt(layer):
            return _named(streams.tops_blocking(groups, conf.BAZIS_WS_PUBLISH_TIMEOUT))
    except PublishError as error:
        return _unknown(error)


async def aposition(user: Any) -> dict[str, str] | None:
    """Async twin of `position`."""
    groups, layer = await in_space(_groups, user), sending.channel_layer()
    streams: Streams | None = getattr(layer, "streams", None)
    if streams is None or not streams.is_on:
        return None
    try:
        with sending.Attempt(layer):
            return _named(await streams.tops(groups))
    except PublishError as error:
        return _unknown(error)


def _groups(user: Any) -> tuple[str, str]:
    return user_group(pk_of(user)), common_group()


def _named(tops: Iterable[Position]) -> dict[str, str]:
    return dict(zip(STREAMS, map(str, tops), strict=True))


def _unknown(error: PublishError) -> dict[str, str]:
    logger.warning("A position can't be read; its client will load its state again. %s", error)
    return _named([UNKNOWN] * len(STREAMS))
