"""The commands of ``manage.py``."""

import io

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from bazis_ws_channels.auth.tokens import verify
from bazis_ws_channels.exceptions import PublishError
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Connect, Register, Token


def run(name, *arguments):
    """Run a command; return what it prints."""
    out = io.StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue().rstrip("\n")


@pytest.fixture
def online(people):
    """User 1 has a connection, and so has a user who was deleted."""
    get_store().ask(Register("p", 60_000))
    for key in ("1", "9"):
        get_store().ask(Connect("p", key, key, 9, Token(age_us=0)))


@pytest.fixture
def broken(monkeypatch):
    """No channel layer answers."""

    def fails(*args, **kwargs):
        raise PublishError("away")

    monkeypatch.setattr("bazis_ws_channels.sending.send", fails)


def test_publishing(online):
    """To a user, or to everybody."""
    assert run("ws_publish", "user1", '{"a": 1}') == "Published to 1 connection(s) of user1."
    assert run("ws_broadcast", '"hello"') == "Published to everybody."


@pytest.mark.parametrize(
    "command",
    [
        ("ws_publish", "user1", "1"),
        ("ws_broadcast", "1"),
        ("ws_disconnect", "user1"),
        ("ws_online",),
    ],
)
def test_where_nobody_hears_it(people, command):
    """The layer of the unit tests is in memory: a command's own."""
    said = io.StringIO()
    call_command(*command, stdout=io.StringIO(), stderr=said)
    assert "this command is another" in said.getvalue()


@pytest.mark.parametrize("name", [("ws_publish", "user1"), ("ws_broadcast",)])
def test_what_is_no_json(people, name):
    """With a hint for the shell."""
    with pytest.raises(CommandError, match=r"Not JSON: .*Quote it for the shell"):
        run(*name, "{a: 1}")


@pytest.mark.parametrize(
    "command", [("ws_publish", "user1", "1"), ("ws_broadcast", "1"), ("ws_disconnect", "user1")]
)
def test_a_layer_that_fails(people, broken, command):
    """One line, no traceback."""
    with pytest.raises(CommandError, match="away"):
        run(*command)


def test_ending_sessions(online):
    """And says how many."""
    assert run("ws_disconnect", "user1") == "Ended 1 session(s) of user1."


def test_who_is_online(online, people, monkeypatch):
    """One a line; a deleted user says so."""
    manager = get_user_model()._default_manager
    in_bulk = lambda pks: {1: people["user1"]}  # noqa: E731
    monkeypatch.setattr(manager, "in_bulk", in_bulk, raising=False)
    assert run("ws_online").splitlines() == ["1\tuser1", "9\t(deleted)", "2 online."]


def test_who_is_online_while_redis_is_away(people, settings):
    """Not "0 online": nobody knows."""
    settings.BAZIS_WS_REDIS_URL = "redis://127.0.0.1:1"
    with pytest.raises(CommandError, match="Redis is out of reach"):
        run("ws_online")


def test_a_token(people):
    """Alone, for a script."""
    assert verify(run("ws_token", "user1", "--lifetime", "60")).user == "user1"


def test_a_token_that_cannot_be_signed(people, settings):
    """The setting is named."""
    settings.BAZIS_JWT_SESSION_ALG = "RS256"
    with pytest.raises(CommandError, match="BAZIS_WS_JWT_SIGNING_KEY"):
        run("ws_token", "user1")


def test_a_user_by_primary_key_or_not_at_all(people):
    """The username goes first."""
    people["1"] = people["user1"]
    assert verify(run("ws_token", "1")).user == "user1"
    with pytest.raises(CommandError, match="There is no user 'nobody', by username or primary"):
        run("ws_token", "nobody")
