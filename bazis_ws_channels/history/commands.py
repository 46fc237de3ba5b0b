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

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from ..conf import conf
from ..redis.commands import Command, Script
from ..redis.hosts import Host
from .positions import Position, Tail, new_mark, unpack

__all__ = [
    "ONCE_SECONDS",
    "Limits",
    "Message",
    "limits",
    "publish",
    "read",
    "result_key",
    "scan",
    "tail_of",
]

#: How long the position of a stream is known after the last session or message.
_META_SECONDS = 30 * 24 * 3600
#: Messages that one call of the script publishes, and about how many bytes. A call for each costs
#: three times as much; too many would keep Redis from other work.
_TOGETHER, _TOGETHER_BYTES = 100, 256 * 1024
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


class Message(NamedTuple):
    """A message of a Redis channel.

    Attributes:
        channel, payload: what is published, and where.
        record: append it to the channel's stream, if the settings say so and somebody holds a
            position of it.
        once: digest of an idempotency key.
    """

    channel: str
    payload: bytes
    record: bool
    once: str | None


def publish(host: Host, messages: Sequence[Message]) -> list[Command]:
    """Return the commands that publish messages, in order.

    The settings are read once, and one mark serves for all: each message is of another stream or
    has another offset.

    Args:
        host: that of all messages.
    """
    verb, kept, mark = host.publish_verb, limits(), ""
    commands: list[Command] = []
    # The keys of a script are in one slot of a Cluster, and each stream is in its own.
    for part in _parts(messages, 1 if host.is_cluster else _TOGETHER):
        is_recorded = kept is not None and part[0].record
        if is_recorded or part[0].once is not None:
            mark = mark or new_mark()
            commands.append(_publish(part, verb, mark, kept if is_recorded else None))
        else:
            commands += [Command((verb, each.channel, each.payload)) for each in part]
    return commands


def _publish(messages: Sequence[Message], verb: str, mark: str, kept: Limits | None) -> Command:
    prefix = conf.BAZIS_WS_KEY_PREFIX
    keys: list[str] = []
    args = [verb, mark, *(kept or (0, 0, 0)), _META_SECONDS, ONCE_SECONDS]
    for channel, payload, _, once in messages:
        keys += _keys(prefix, channel)
        if once is not None:
            keys.append(f"{prefix}user_ws.{{{channel}}}.once.{once}")
        args += channel, payload
    return _script("publish").command(keys, args)


def _parts(messages: Sequence[Message], most: int) -> list[list[Message]]:
    """Return messages in parts, each for one call of the script: not too many, of one kind."""
    parts: list[list[Message]] = []
    kind, size = None, 0
    for message in messages:
        own_kind = message.record, message.once is None
        if own_kind != kind or len(parts[-1]) == most or size > _TOGETHER_BYTES:
            parts.append([])
            kind, size = own_kind, 0
        parts[-1].append(message)
        size += len(message.payload)
    return parts


def read(asked: Iterable[tuple[str, Position | None]]) -> list[Command]:
    """Return the commands that read the ends of channels' streams, and what is missing there since
    a position.
    """
    prefix, mark, script = conf.BAZIS_WS_KEY_PREFIX, new_mark(), _script("read")
    return [
        script.command(
            _keys(prefix, channel),
            ("" if since is None else since.offset, mark, _META_SECONDS),
            is_repeatable=True,
        )
        for channel, since in asked
    ]


def tail_of(reply: Any) -> Tail:
    """Return what the reply to `read` says."""
    offset, mark, messages = reply
    entries = [entry for each in messages if (entry := unpack(each)) is not None]
    return Tail(Position(int(offset), mark.decode()), entries)


def scan(cursor: str, count: int) -> Command:
    """Return the command that finds streams with messages, among about `count` keys of a server,
    from a cursor ("0" at first).
    """
    _, pattern = _keys(conf.BAZIS_WS_KEY_PREFIX, "*")
    return Command(("SCAN", cursor, "MATCH", pattern, "COUNT", count), True)


def result_key(once: str) -> str:
    """Return the key of what the call with an idempotency key returned."""
    return f"{conf.BAZIS_WS_KEY_PREFIX}user_ws.once.{once}"


def _keys(prefix: str, channel: str) -> Sequence[str]:
    name = f"{prefix}user_ws.{{{channel}}}"
    return f"{name}.stream", f"{name}.messages"


@cache
def _script(name: str) -> Script:
    return Script(resources.files(__package__).joinpath("lua", f"{name}.lua").read_text())
