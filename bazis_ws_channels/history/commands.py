"""Streams in Redis: commands and replies. No I/O.

Keys of the stream of a Redis channel, behind ``BAZIS_WS_KEY_PREFIX``; all have its hash tag, and so
has the channel itself where pub/sub is sharded:

==========================================  ====================================================
``user_ws.{<channel>}.stream``              hash: ``offset`` and ``mark`` of the newest message,
                                            ``bytes`` of those kept. Made when somebody gets a
                                            position; kept for 30 days after the last one
``user_ws.{<channel>}.messages``            list of the newest messages, kept as the settings say
``user_ws.{<channel>}.once.<digest>``       an idempotency key by which this was published
``user_ws.once.<digest>``                   what the call with an idempotency key returned
==========================================  ====================================================

Offsets are consecutive, so that a position costs no search: what is missing since offset `o` under
the top `t` is the last `t - o` of the list. The position outlives the messages: whoever has seen
everything in a stream that has been quiet since recovers, however long that is.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from ..conf import conf
from ..redis.commands import Command, Script
from .positions import Position, Tail, new_mark, unpack

__all__ = ["ONCE_SECONDS", "Limits", "limits", "publish", "read", "result_key", "tail_of"]

#: How long the position of a stream is known after the last session or message.
_META_SECONDS = 30 * 24 * 3600
#: How long an idempotency key is known.
ONCE_SECONDS = 300


class Limits(NamedTuple):
    """What is kept of each stream: the first limit that is reached counts."""

    seconds: int
    messages: int
    max_bytes: int


def limits() -> Limits | None:
    """Return what the settings say is kept; None if nothing is."""
    found = Limits(
        conf.BAZIS_WS_HISTORY_SECONDS, conf.BAZIS_WS_HISTORY_MESSAGES, conf.BAZIS_WS_HISTORY_BYTES
    )
    return found if min(found) > 0 else None


def publish(
    channel: str, payload: bytes, *, kept: Limits | None, once: str | None, mark: str, verb: str
) -> Command:
    """Return the command that publishes a message.

    Args:
        kept: append it to the channel's stream, if somebody holds a position of it, and keep so
            much; None: don't.
        once: digest of an idempotency key.
        mark: of the message.
        verb: ``PUBLISH``, or ``SPUBLISH`` in a Cluster.
    """
    if kept is None and once is None:
        return Command((verb, channel, payload))
    keys = _keys(channel)
    if once is not None:
        keys.append(_name(channel, f"once.{once}"))
    numbers = (*(kept or (0, 0, 0)), _META_SECONDS, ONCE_SECONDS)
    return _script("publish").command(keys, (verb, channel, payload, mark, *numbers))


def read(channel: str, since: Position | None) -> Command:
    """Return the command that reads the end of a channel's stream, and what is missing."""
    args = ("" if since is None else since.offset, new_mark(), _META_SECONDS)
    return _script("read").command(_keys(channel), args, is_repeatable=True)


def tail_of(reply: Any) -> Tail:
    """Return what the reply to `read` says."""
    offset, mark, messages = reply
    entries = [entry for each in messages if (entry := unpack(each)) is not None]
    return Tail(Position(int(offset), mark.decode()), entries)


def result_key(once: str) -> str:
    """Return the key of what the call with an idempotency key returned."""
    return f"{conf.BAZIS_WS_KEY_PREFIX}user_ws.once.{once}"


def _keys(channel: str) -> list[str]:
    stem = _name(channel, "")
    return [f"{stem}stream", f"{stem}messages"]


def _name(channel: str, what: str) -> str:
    return f"{conf.BAZIS_WS_KEY_PREFIX}user_ws.{{{channel}}}.{what}"


@cache
def _script(name: str) -> Script:
    return Script(resources.files(__package__).joinpath("lua", f"{name}.lua").read_text())
