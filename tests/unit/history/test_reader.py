"""Reading the ends of streams, from servers that speak RESP."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from bazis_ws_channels.exceptions import ChannelLayerUnavailable
from bazis_ws_channels.history import reader as module
from bazis_ws_channels.history.positions import Position, Tail
from bazis_ws_channels.history.reader import Reader
from bazis_ws_channels.redis.hosts import Host
from tests.unit.history.streams import at
from tests.unit.peers import CUT, FakeRedis

EMPTY = [b"0", b"abcdefgh", []]


def message(number):
    """Return a message as Redis keeps it."""
    return b"\xc1%d %b %b\nx" % (number, at(number).mark.encode(), at(number - 1).mark.encode())


def end(number, *messages):
    """Return a reply: a stream that ends at a message."""
    return [b"%d" % number, at(number).mark.encode(), list(messages)]


@pytest.fixture
def reader(fake_redis):
    """A reader of one server."""
    host = Host({"address": fake_redis.url, "socket_timeout": 5})
    return Reader(lambda channel: host)


async def test_the_ends_of_streams(fake_redis, reader):
    """In one round trip; each message with its place, and what is no message left out."""
    fake_redis.answer("EVALSHA", end(5), end(7, b"noise", message(6), message(7)))
    first, second = await reader.read(["a", "b"], [None, at(5)])
    assert first == Tail(at(5), [])
    assert second.top == at(7)
    assert [entry.position for entry in second.entries] == [at(6), at(7)]
    asked = [command for command in fake_redis.commands if command[0] == "EVALSHA"]
    assert [command[3] for command in asked] == ["user_ws.{a}.stream", "user_ws.{b}.stream"]
    assert [command[5] for command in asked] == ["", "5"]


async def test_nobody_asks_for_nothing(fake_redis, reader):
    """No streams, no question."""
    assert await reader.read([], []) == []
    assert fake_redis.accepted == 0


async def test_redis_is_away(fake_redis, reader):
    """The error says so, for all of them."""
    fake_redis.answer("EVALSHA", CUT, CUT, CUT)
    answers = await reader.answers(["a", "b"], [None, None])
    assert [type(each) for each in answers] == [RedisConnectionError] * 2
    fake_redis.answer("EVALSHA", CUT, CUT, CUT)
    with pytest.raises(ChannelLayerUnavailable, match="Redis is out of reach"):
        await reader.read(["a", "b"], [None, None])


async def test_one_stream_that_cannot_be_read(fake_redis, reader):
    """The others are."""
    fake_redis.answer("EVALSHA", ResponseError("WRONGTYPE of key"), EMPTY)
    bad, good = await reader.answers(["a", "b"], [None, None])
    assert isinstance(bad, ResponseError)
    assert good.top == Position(0, "abcdefgh")


async def test_each_shard_is_asked_for_its_own(fake_redis):
    """The answers come in the order of the channels; a dead shard costs the others nothing."""
    with FakeRedis() as other:
        hosts = {
            name: Host({"address": each.url, "socket_timeout": 5})
            for name, each in (("a", fake_redis), ("b", other))
        }
        reader = Reader(lambda channel: hosts[channel[0]])
        fake_redis.answer("EVALSHA", end(1), end(3))
        other.answer("EVALSHA", end(2), CUT, CUT)
        channels = ["a1", "b1", "a2"]
        assert [each.top for each in await reader.read(channels, [None] * 3)] == [
            at(1),
            at(2),
            at(3),
        ]
        fake_redis.answer("EVALSHA", end(4))
        living, dead = await reader.answers(["a1", "b1"], [None] * 2)
        assert living.top == at(4)
        assert isinstance(dead, RedisConnectionError)


async def test_many_streams_are_read_in_rounds(fake_redis, reader, monkeypatch):
    """Each has a time limit of its own, and is asked when the one before has been answered."""
    monkeypatch.setattr(module, "_ROUND", 2)
    fake_redis.answer("EVALSHA", *(end(number) for number in range(1, 6)))
    rounds = []
    exchange = module.connection_to(reader._host_of("a")).exchange

    async def counted(commands):
        rounds.append(len(commands))
        return await exchange(commands)

    monkeypatch.setattr(module.connection_to(reader._host_of("a")), "exchange", counted)
    tails = await asyncio.wait_for(reader.read(list("abcde"), [None] * 5), 20)
    assert [tail.top for tail in tails] == [at(number) for number in range(1, 6)]
    assert rounds == [2, 2, 1]
