"""Messages that are sent together: what is asked of Redis."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from bazis_ws_channels.history import commands as module
from bazis_ws_channels.history.batch import Batch
from bazis_ws_channels.history.commands import Message
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.hosts import Host

HOST, OTHER = Host({"host": "a"}), Host({"host": "b"})
CLUSTER = Host({"cluster": [("a", 1)]})
BEFORE = Command(("PING",))


def message(channel, record=True, once=None, payload=b"x"):
    """Return a message."""
    return Message(channel, payload, record, once)


def commands(*messages, host=HOST, before=None):
    """Return the commands of messages of one host."""
    return Batch({host: messages}, before).commands()[host]


def channels(command):
    """Return where a command publishes, in order."""
    if command.script is None:
        return [command.parts[1]]
    _, _, keys, *rest = command.parts
    return rest[keys + 7 :: 2]


def test_nothing():
    """Is sent."""
    assert Batch({}).commands() == {}


def test_what_is_not_recorded_is_published_plainly():
    """So is everything, where nothing is kept."""
    assert commands(message("c", record=False)) == [Command(("PUBLISH", "c", b"x"))]


def test_where_nothing_is_kept(settings):
    """The settings are asked each time."""
    settings.BAZIS_WS_HISTORY_SECONDS = 0
    assert commands(message("c")) == [Command(("PUBLISH", "c", b"x"))]
    [with_a_key] = commands(message("c", once="k"))
    assert with_a_key.script is not None


def test_streams_share_a_call_of_the_script():
    """Each with its keys, in order, all of them declared."""
    [command] = commands(message("c"), message("d"))
    _, _, keys, *rest = command.parts
    assert rest[:keys] == [
        "user_ws.{c}.stream", "user_ws.{c}.messages", "user_ws.{d}.stream", "user_ws.{d}.messages",
    ]  # fmt: skip
    verb, mark, *numbers = rest[keys : keys + 7]
    assert (verb, len(mark), numbers) == ("PUBLISH", 8, [300, 100, 262144, 2592000, 300])
    assert rest[keys + 7 :] == ["c", b"x", "d", b"x"]


def test_idempotency_keys_are_keys_of_the_script():
    """One a stream; what is not recorded has nothing to keep."""
    [command] = commands(message("c", record=False, once="k"), message("d", record=False, once="k"))
    _, _, keys, *rest = command.parts
    assert rest[2:keys:3] == ["user_ws.{c}.once.k", "user_ws.{d}.once.k"]
    assert rest[keys + 2 : keys + 5] == [0, 0, 0]


def test_different_kinds_in_order():
    """A call of the script is for messages of one kind."""
    kinds = [message("a"), message("b"), message("c", record=False), message("d", once="k")]
    found = [channels(command) for command in commands(*kinds, message("e"))]
    assert found == [["a", "b"], ["c"], ["d"], ["e"]]


def test_no_call_is_too_long(monkeypatch):
    """By messages, and by bytes."""
    many = [message(str(number)) for number in range(250)]
    assert [len(channels(command)) for command in commands(*many)] == [100, 100, 50]
    big = [message(str(number), payload=b"x" * 200_000) for number in range(5)]
    assert [len(channels(command)) for command in commands(*big)] == [2, 2, 1]
    assert [each for command in commands(*many) for each in channels(command)] == [
        each.channel for each in many
    ]


def test_a_cluster_gets_each_stream_for_itself():
    """They are in different slots."""
    found = commands(message("c"), message("d"), host=CLUSTER)
    assert [command.parts[2] for command in found] == [2, 2]
    assert [channels(command) for command in found] == [["c"], ["d"]]


def test_another_command_goes_first():
    """On a host of the messages, or of its own."""
    assert commands(message("c", record=False), before=(HOST, BEFORE))[0] is BEFORE
    batch = Batch({HOST: [message("c", record=False)]}, (OTHER, BEFORE))
    assert list(batch.commands()) == [OTHER, HOST]


def test_its_reply():
    """Is the first; the others are errors, or of no interest."""
    batch = Batch({HOST: [message("c")]}, (HOST, BEFORE))
    refused = ResponseError("NOPERM")
    assert batch.reply({HOST: [5, [0]]}) == 5
    assert batch.reply({HOST: [refused, [0]]}) is refused
    with pytest.raises(ResponseError):
        batch.reply({HOST: [5, refused]})
    with pytest.raises(RedisConnectionError):
        batch.reply({HOST: RedisConnectionError("gone")})


def test_a_host_of_its_own_fails_no_message():
    """Its error is the reply."""
    batch = Batch({HOST: [message("c")]}, (OTHER, BEFORE))
    gone = RedisConnectionError("gone")
    assert batch.reply({OTHER: gone, HOST: [[0]]}) is gone
    with pytest.raises(RedisConnectionError):
        batch.reply({OTHER: [5], HOST: gone})


def test_settings_are_read_once_a_call(monkeypatch):
    """However many messages it has."""
    reads = []
    monkeypatch.setattr(module, "limits", lambda: reads.append(1) or module.Limits(1, 2, 3))
    commands(*(message(str(number)) for number in range(250)))
    assert len(reads) == 1
