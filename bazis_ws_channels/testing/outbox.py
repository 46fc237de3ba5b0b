"""What was published, and assertions about it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections
from django.db.models import Model

from ..auth.anonymous import checked
from ..groups import anonymous_group, anonymous_key, is_anonymous
from ..mail import taps
from ..types import GroupMessage
from ..users import pk_from_key, pk_of
from .isolation import isolate

__all__ = [
    "Outbox",
    "Published",
    "assert_broadcast",
    "assert_not_published",
    "assert_published",
    "assert_published_anonymous",
    "capture",
]

#: Messages that a failing assertion shows.
_SHOWN = 20
#: Characters of each.
_WIDTH = 300

#: Those that are active, the innermost last.
_active: list[Outbox] = []


@dataclass(frozen=True, slots=True)
class Published:
    """One message to one user, to everybody, or to one token's anonymous sessions.

    Attributes:
        user: the user's primary key; None for a broadcast, and for anonymous sessions.
        data: what clients get: the published value after a JSON round trip.
        recorded: whether it can be replayed.
        anonymous: the group of the anonymous sessions; None for users and broadcasts.
    """

    user: Any
    data: Any
    recorded: bool = True
    anonymous: str | None = None

    @property
    def is_broadcast(self) -> bool:
        """Whether it was published to everybody."""
        return self.user is None and self.anonymous is None

    def __str__(self) -> str:
        to = "everybody" if self.is_broadcast else f"user {self.user!r}"
        to = to if self.anonymous is None else "an anonymous session"
        return f"to {to}: {_short(self.data)}"


class Outbox(list[Published]):
    """What was published while it was active, in order."""

    def assert_published(self, user: Any, data: Any = ANY, count: int | None = 1) -> None:
        """Assert that a message was published to a user `count` times.

        Args:
            user: an instance or a primary key.
            data: of a dict only the keys given here must be equal, of anything else all;
                `unittest.mock.ANY` stands for any value.
            count: how often, exactly; None: once or more often.

        Raises:
            AssertionError: it was not; the message shows what was published instead.
            ValueError: the user is not saved.
        """
        pk = pk_of(user)
        to = f"user {pk!r} ({user})" if isinstance(user, Model) else f"user {pk!r}"
        self._assert([each for each in self if each.user == pk], to, data, count)

    def assert_broadcast(self, data: Any = ANY, count: int | None = 1) -> None:
        """Assert that a message was published to everybody. Arguments and errors as
        `assert_published`.
        """
        self._assert([each for each in self if each.is_broadcast], "everybody", data, count)

    def assert_published_anonymous(
        self, token: str, data: Any = ANY, count: int | None = 1
    ) -> None:
        """Assert that a message was published to the anonymous sessions of a token. Arguments and
        errors as `assert_published`; `ValueError` for what can't be such a token.
        """
        group = anonymous_group(anonymous_key(checked(token)))
        found = [each for each in self if each.anonymous == group]
        self._assert(found, "the anonymous session", data, count)

    def assert_not_published(self, user: Any = None, data: Any = ANY) -> None:
        """Assert that nothing (or nothing with this `data`) was published to a user; without
        `user` to nobody at all, broadcasts and anonymous sessions included.
        """
        pk = None if user is None else pk_of(user)
        expected = _as_json(data)
        found = [
            each
            for each in self
            if (user is None or each.user == pk) and _matches(expected, each.data)
        ]
        if found:
            whom = "anybody" if user is None else f"user {pk!r}"
            raise AssertionError(f"Expected nothing to be published to {whom}.\n{_listed(found)}")

    def _assert(
        self, candidates: Sequence[Published], to: str, data: Any, count: int | None
    ) -> None:
        expected = _as_json(data)
        found = [each for each in candidates if _matches(expected, each.data)]
        if (found and count is None) or len(found) == count:
            return
        times = "at least once" if count is None else f"{count} time(s)"
        what = "a message" if data is ANY else _short(data)
        lines = [f"Expected {what} to be published to {to} {times}, got {len(found)}."]
        lines.append(_listed(self))
        if not found and candidates:
            lines.append(_nearest(expected, candidates))
        raise AssertionError("\n".join(lines))


@contextmanager
def capture() -> Iterator[Outbox]:
    """Collect what is published, and let nothing leave the process.

    What is published with `on_commit` appears when the transaction commits. Clients of this
    process (`WsClient`) get the messages too. Inside another `capture`, both collect.
    """
    outbox = Outbox()

    def tap(key: str | None, message: GroupMessage) -> None:
        group, event = message
        pk = None if key is None else pk_from_key(key)
        data = json.loads(event["text"])["data"]
        anonymous = group if is_anonymous(group) else None
        outbox.append(Published(pk, data, bool(event.get("record")), anonymous))

    with isolate():
        taps.append(tap)
        _active.append(outbox)
        try:
            yield outbox
        finally:
            _active[:] = [each for each in _active if each is not outbox]
            taps.remove(tap)


def assert_published(user: Any, data: Any = ANY, count: int | None = 1) -> None:
    """Assert it of the innermost `capture`; see `Outbox.assert_published`."""
    _innermost().assert_published(user, data, count)


def assert_broadcast(data: Any = ANY, count: int | None = 1) -> None:
    """Assert it of the innermost `capture`; see `Outbox.assert_broadcast`."""
    _innermost().assert_broadcast(data, count)


def assert_published_anonymous(token: str, data: Any = ANY, count: int | None = 1) -> None:
    """Assert it of the innermost `capture`; see `Outbox.assert_published_anonymous`."""
    _innermost().assert_published_anonymous(token, data, count)


def assert_not_published(user: Any = None, data: Any = ANY) -> None:
    """Assert it of the innermost `capture`; see `Outbox.assert_not_published`."""
    _innermost().assert_not_published(user, data)


def _innermost() -> Outbox:
    if not _active:
        raise RuntimeError("Nothing is captured: use the fixture ws_outbox, or capture().")
    return _active[-1]


def _matches(expected: Any, data: Any) -> bool:
    if isinstance(expected, dict) and isinstance(data, dict):
        return all(key in data and value == data[key] for key, value in expected.items())
    return bool(expected == data)


def _as_json(value: Any) -> Any:
    """Return what a JSON round trip makes of an expected value; ANY stays."""
    if value is ANY:
        return value
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else next(iter(json.loads(json.dumps({key: 0})))): (
                _as_json(item)
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    try:
        return json.loads(json.dumps(value, cls=DjangoJSONEncoder))
    except (TypeError, ValueError):
        return value  # equal to nothing, or with an `__eq__` of its own


def _listed(messages: Sequence[Published]) -> str:
    if not messages:
        return "Nothing was published." + _uncommitted()
    lines = [f"  {number}. {each}" for number, each in enumerate(messages[:_SHOWN], 1)]
    if len(messages) > _SHOWN:
        lines.append(f"  ... and {len(messages) - _SHOWN} more.")
    return "\n".join(["Published:", *lines])


def _uncommitted() -> str:
    """Return a hint if an open transaction has callbacks: most tests never commit."""
    opened = connections.all(initialized_only=True)
    number = sum(len(each.run_on_commit) for each in opened)
    if not number:
        return ""
    return (
        f" The open transaction has {number} callback(s) for its commit, such as on_commit=True"
        " makes. A test that never commits runs them by captureOnCommitCallbacks(execute=True) of"
        " TestCase, or by pytest-django's django_capture_on_commit_callbacks(execute=True)."
    )


def _nearest(expected: Any, candidates: Sequence[Published]) -> str:
    """Show what differs between `expected` and the message that is most like it."""
    wanted = _lines(expected)

    def likeness(each: Published) -> float:
        return difflib.SequenceMatcher(None, wanted, _lines(_part(expected, each.data))).ratio()

    nearest = max(candidates, key=likeness)
    found = _lines(_part(expected, nearest.data))
    diff = difflib.unified_diff(wanted, found, "expected", "published", lineterm="")
    return "\n".join(["The nearest of them:", *(f"  {line}" for line in diff)])


def _part(expected: Any, data: Any) -> Any:
    """Return of `data` what is compared with `expected`."""
    if isinstance(expected, dict) and isinstance(data, dict):
        return {
            key: expected[key] if expected[key] == data[key] else data[key]
            for key in expected
            if key in data
        }
    return data


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def _lines(value: Any) -> list[str]:
    return json.dumps(
        value, indent=2, sort_keys=True, ensure_ascii=False, default=repr
    ).splitlines()
