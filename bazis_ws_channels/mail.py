"""What one call publishes, and how it is sent: at once or after the commit, in rounds, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Model

from . import sending
from .groups import key_group
from .presence.queries import acount_quietly, count_command, count_from, count_quietly
from .types import GroupMessage

__all__ = ["Frames", "Mail", "asend", "send"]

logger = logging.getLogger("bazis_ws_channels")

#: Text frames by the user's key. The key None is for everybody, or for an anonymous session.
Frames = Mapping[str | None, str]
#: A message after its user's key or None, as in `Frames`.
Addressed = tuple[str | None, GroupMessage]


class Mail(NamedTuple):
    """What one call publishes. The messages of very many users are made as they are sent.

    Attributes:
        frames: what is sent to whom.
        record: whether it can be replayed.
        once: digest of the idempotency key; None without one.
        group: the group that gets the frame of the key None.
    """

    frames: Frames
    record: bool
    once: str | None
    group: str = ""

    def rounds(self) -> Iterator[Sequence[Addressed]]:
        """Yield the messages, in rounds of `sending.rounds`: each is sent within one time limit."""
        for some in sending.rounds(self.frames.items()):
            yield [(key, self._message(key, frame)) for key, frame in some]

    def _message(self, key: str | None, frame: str) -> GroupMessage:
        group = self.group if key is None else key_group(key)
        return sending.push(group, frame, record=self.record, once=self.once)


def send(mail: Mail, on_commit: bool, using: str | None, users: Iterable[Any] = ()) -> int:
    """Send now, or when the current transaction commits.

    Args:
        using: the database of that transaction; by default that of the first instance of `users`.

    Returns:
        How many connections the users have together; 0 with `on_commit`.

    Raises:
        PublishError: some of the users may have got the message. Not with `on_commit`.
    """
    if on_commit:
        transaction.on_commit(lambda: _send_quietly(mail), using=using or _database_of(users))
        return 0
    return _send_once(mail, _send_round)


async def asend(mail: Mail, on_commit: bool, using: str | None, users: Iterable[Any] = ()) -> int:
    """Async twin of `send`."""
    if on_commit:
        # The transaction belongs to the thread in which async code runs its ORM.
        return await sync_to_async(send)(mail, on_commit, using, users)
    earlier = await sending.arecall(mail.once) if mail.once is not None else None
    if earlier is not None:
        return earlier
    connections = 0
    for round_ in mail.rounds():
        connections += await _asend_round(round_)
    if mail.once is not None:
        await sending.aremember(mail.once, connections)
    return connections


def _send_once(mail: Mail, send_round: Callable[[Sequence[Addressed]], int]) -> int:
    """Send, unless a call with the same idempotency key has; then return what that returned."""
    earlier = sending.recall(mail.once) if mail.once is not None else None
    if earlier is not None:
        return earlier
    connections = sum(map(send_round, mail.rounds()))
    if mail.once is not None:
        sending.remember(mail.once, connections)
    return connections


def _send_round(round_: Sequence[Addressed]) -> int:
    """Send a round and count the users' connections in the same round trip. Count first: a client
    may disconnect as soon as it has the message.
    """
    keys = _keys(round_)
    before = count_command(keys)
    connections = count_quietly(keys) if before is None else None
    with sending.Noted(round_):
        reply = sending.send([message for _, message in round_], before)
    if connections is None:
        connections = count_from(keys, reply)
    return count_quietly(keys) if connections is None else connections


async def _asend_round(round_: Sequence[Addressed]) -> int:
    """Async twin of `_send_round`."""
    keys = _keys(round_)
    before = count_command(keys)
    connections = await acount_quietly(keys) if before is None else None
    with sending.Noted(round_):
        reply = await sending.asend([message for _, message in round_], before)
    if connections is None:
        connections = count_from(keys, reply)
    return await acount_quietly(keys) if connections is None else connections


def _keys(round_: Sequence[Addressed]) -> list[str]:
    return [key for key, _ in round_ if key is not None]


def _send_quietly(mail: Mail) -> None:
    try:
        _send_once(mail, _send_uncounted)
    except Exception:
        logger.exception("Publishing %d message(s) after the commit failed.", len(mail.frames))


def _send_uncounted(round_: Sequence[Addressed]) -> int:
    with sending.Noted(round_):
        sending.send([message for _, message in round_])
    return 0


def _database_of(users: Iterable[Any]) -> str | None:
    """Return the database that the first user instance was loaded from."""
    return next((user._state.db for user in users if isinstance(user, Model)), None)
