"""Which messages of clients are served, and for whom."""

from types import SimpleNamespace

import pytest

from bazis_ws_channels.connection.reach import Reach
from bazis_ws_channels.consumers import UserWsConsumer


class Mine(Reach):
    """As a project writes it."""

    open_types = Reach.open_types | {"hello"}
    anonymous_types = frozenset({"vote"})


def session(*, is_live=True, is_anonymous=False):
    """Return what is asked of a session."""
    return SimpleNamespace(is_live=is_live, is_anonymous=is_anonymous)


ALL = {"ping", "hello", "vote", "watch", "rename"}


@pytest.mark.parametrize(
    ("who", "served", "code"),
    [
        (None, {"ping", "hello"}, "not_authenticated"),
        (session(is_live=False), {"ping", "hello"}, "not_authenticated"),
        (session(is_live=False, is_anonymous=True), {"ping", "hello"}, "not_authenticated"),
        (session(is_anonymous=True), {"ping", "hello", "vote"}, "forbidden"),
        (session(), ALL, None),
    ],
)
def test_types(who, served, code):
    """A type needs a user's session, unless the class says otherwise."""
    answers = {kind: Mine().refusal(kind, who) for kind in ALL}
    assert {kind for kind, answer in answers.items() if answer is None} == served
    assert {answer[0] for answer in answers.values() if answer} == ({code} if code else set())


def test_nothing_is_for_anonymous_sessions_by_default():
    """What a project added before it allowed them stays closed to them."""
    assert UserWsConsumer.anonymous_types == frozenset()
    assert UserWsConsumer.open_types == {"ping"}
