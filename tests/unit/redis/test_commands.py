"""Commands as values, and what is sent again."""

import hashlib

import pytest
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from bazis_ws_channels.redis.commands import Command, Script, repeated, was_demoted

SCRIPT = Script("return 1")


def test_a_script_goes_by_its_name():
    """As Redis makes it, with the number of keys before them."""
    command = SCRIPT.command(["k1", "k2"], ["a", 1], is_repeatable=True)
    sha = hashlib.sha1(b"return 1", usedforsecurity=False).hexdigest()
    assert command.parts == ("EVALSHA", sha, 2, "k1", "k2", "a", 1)
    assert command.is_repeatable
    assert command.script is SCRIPT
    assert not SCRIPT.command([], []).is_repeatable


def test_an_unknown_script_is_sent_as_a_whole_once():
    """What would fail again stays as it is."""
    command = SCRIPT.command(["k"], ["a"])
    again = repeated(command, NoScriptError("NOSCRIPT"))
    assert again.parts == ("EVAL", "return 1", 1, "k", "a")
    assert repeated(again, NoScriptError("NOSCRIPT")) is None
    assert repeated(Command(("EVALSHA", "x", 0)), NoScriptError("NOSCRIPT")) is None


@pytest.mark.parametrize("command", [Command(("PUBLISH", "c", "m")), SCRIPT.command([], [])])
def test_what_a_replica_refused_was_not_done(command):
    """So it may go to the primary, repeatable or not."""
    assert repeated(command, ReadOnlyError("READONLY")) is command
    assert was_demoted(ReadOnlyError("READONLY"))


@pytest.mark.parametrize("reply", [None, 1, b"OK", [], ResponseError("WRONGTYPE")])
def test_other_replies_stand(reply):
    """Errors too."""
    assert repeated(SCRIPT.command([], []), reply) is None
    assert not was_demoted(reply)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (Command(("GET", "a")), "a"),
        (Command(("SPUBLISH", "channel", b"x")), "channel"),
        (SCRIPT.command(["a", "b"], ["c"]), "a"),
        (SCRIPT.command([], ["c"]), None),
        (SCRIPT.command(["a"], []).unabridged, "a"),
        (Command(("SCAN", "0", "MATCH", "{tag}.*", "COUNT", 5)), "{tag}.*"),
        (Command(("PING",)), None),
    ],
)
def test_the_key_that_says_where_a_command_goes(command, key):
    """In a Cluster."""
    assert command.key == key
