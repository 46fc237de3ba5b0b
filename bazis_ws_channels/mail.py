"""What one call publishes, and how it is sent: at once or after the commit, in rounds, once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import Model

from . import counters, sending
from .groups import key_group
from .presence.queries import acount_quietly, count_quietly, counting
from .types import GroupMessage

__all__ = ["Mail", "Round", "asend", "send", "taps"]

logger = logging.getLogger("bazis_ws_channels")

#: Called with all that is published, a user's key (None for everybody, or for an anonymous session)
#: and the message: by the test kit.
taps: list[Callable[[str | None, GroupMessage], None]] = []


class Round:
    """Messages that are sent within one time limit.

    As a context manager it stamps and counts what is published while it is handed over, and shows
    it to the taps.

    Attributes:
        keys: of the users they are for; none where they are for no user.
        messages: one for each user, or one.
    """

    __slots__ = ("_kind", "keys", "messages")

    def __init__(self, kind: str, keys: Sequence[str], messages: Sequence[GroupMessage]) -> None:
        self._kind = kind
        self.keys = keys
        self.messages = messages

    def __enter__(self) -> None:
        now = time.time()
        for _, event in self.messages:
            event["at"] = now
        for tap in taps:
            for key, message in zip(self.keys or (None,), self.messages, strict=True):
                tap(key, message)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        outcome = "ok" if error is None else "failed"
        counters.published(self._kind, outcome, len(self.messages))


class Mail(NamedTuple):
    """What one call publishes. The messages of very many users are made as they are sent.

    Attributes:
        kind: whom it is for: ``user``, ``common`` or ``anonymous``.
        frames: text frames by the user's key; by the group, where it is for no user.
        record: whether it can be replayed.
        once: digest of the idempotency key; None without one.
    """

    kind: str
    frames: Mapping[str, str]
    record: bool
    once: str | None

    def rounds(self) -> Iterator[Round]:
        """Yield the messages, in rounds of `sending.rounds`."""
        is_for_users = self.kind == "user"
        for names in sending.rounds(list(self.frames)):
            messages = [
                sending.push(
                    key_group(name) if is_for_users else name,
                    self.frames[name],
                    record=self.record,
                    once=self.once,
                )
                for name in names
            ]
            yield Round(self.kind, names if is_for_users else (), messages)


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


def _send_once(mail: Mail, send_round: Callable[[Round], int]) -> int:
    """Send, unless a call with the same idempotency key has; then return what that returned."""
    earlier = sending.recall(mail.once) if mail.once is not None else None
    if earlier is not None:
        return earlier
    connections = sum(map(send_round, mail.rounds()))
    if mail.once is not None:
        sending.remember(mail.once, connections)
    return connections


def _send_round(round_: Round) -> int:
    """Send a round and count the users' connections in the same round trip. Count first: a client
    may disconnect as soon as it has the message.
    """
    keys = round_.keys
    count = counting(keys)
    connections = count_quietly(keys) if count is None else None
    with round_:
        reply = sending.send(round_.messages, None if count is None else count.command)
    if count is not None:
        connections = count.result(reply)
    return count_quietly(keys) if connections is None else connections


async def _asend_round(round_: Round) -> int:
    """Async twin of `_send_round`."""
    keys = round_.keys
    count = counting(keys)
    connections = await acount_quietly(keys) if count is None else None
    with round_:
        reply = await sending.asend(round_.messages, None if count is None else count.command)
    if count is not None:
        connections = count.result(reply)
    return await acount_quietly(keys) if connections is None else connections


def _send_quietly(mail: Mail) -> None:
    try:
        _send_once(mail, _send_uncounted)
    except Exception:
        logger.exception("Publishing %d message(s) after the commit failed.", len(mail.frames))


def _send_uncounted(round_: Round) -> int:
    with round_:
        sending.send(round_.messages)
    return 0


def _database_of(users: Iterable[Any]) -> str | None:
    """Return the database that the first user instance was loaded from."""
    return next((user._state.db for user in users if isinstance(user, Model)), None)
