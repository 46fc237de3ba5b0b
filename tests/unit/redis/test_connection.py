"""The connection of one event loop, against a scripted server."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bazis_ws_channels.redis.commands import Command, Script
from bazis_ws_channels.redis.connection import (
    IDLE_SECONDS,
    Connection,
    connection_to,
    exchange_all,
)
from bazis_ws_channels.redis.hosts import Host
from tests.kit.waiting import until
from tests.unit.peers import CUT, SILENCE, FakeRedis

GET = Command(("GET", "a"), is_repeatable=True)
INCR = Command(("INCR", "a"))
SCRIPT = Script("return 1")


@pytest.fixture
async def connection(fake_redis, clock):
    """A connection whose clock is moved."""
    connection = Connection(Host({"address": fake_redis.url, "socket_timeout": 5}), clock)
    yield connection
    await connection.close()


@pytest.fixture
async def hasty(fake_redis, clock):
    """A connection with very little patience."""
    connection = Connection(Host({"address": fake_redis.url, "socket_timeout": 0.3}), clock)
    yield connection
    await connection.close()


async def test_a_reply(connection, fake_redis):
    """As redis-py reads it, without decoding."""
    fake_redis.answer("GET", b"value", None, 7, [b"a", [1]])
    assert [await connection.call(GET) for _ in range(4)] == [b"value", None, 7, [b"a", [1]]]
    assert fake_redis.accepted == 1


async def test_openings_are_counted(connection, fake_redis):
    """Over a new connection another server may answer."""
    assert connection.openings == 0
    await connection.call(GET)
    await connection.call(GET)
    assert connection.openings == 1
    await connection.rest()
    await connection.call(GET)
    assert connection.openings == 2


async def test_an_error_reply_is_raised_by_call_and_returned_by_exchange(connection, fake_redis):
    """Others written with it are done."""
    fake_redis.answer("GET", Exception("WRONGTYPE no"), Exception("WRONGTYPE no"), b"fine")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await connection.call(GET)
    first, second = await connection.exchange([GET, GET])
    assert isinstance(first, ResponseError)
    assert second == b"fine"
    assert fake_redis.accepted == 1


async def test_calls_made_together_share_a_round_trip(connection, fake_redis):
    """And each gets its own reply, though one fails."""
    await connection.call(GET)
    fake_redis.answer("GET", b"1", Exception("ERR no"), b"3")
    calls = await asyncio.gather(*(connection.call(GET) for _ in range(3)), return_exceptions=True)
    assert calls[::2] == [b"1", b"3"]
    assert isinstance(calls[1], ResponseError)
    assert fake_redis.accepted == 1


async def test_more_than_a_round_goes_in_several(connection, fake_redis):
    """None is lost, and their order stays."""
    fake_redis.answer("GET", *(b"%d" % n for n in range(1200)))
    replies = await asyncio.gather(
        connection.exchange([GET] * 300),
        connection.exchange([GET] * 300),
        connection.exchange([GET] * 600),
    )
    assert [reply for each in replies for reply in each] == [b"%d" % n for n in range(1200)]


async def test_who_gave_up_is_not_sent(connection, fake_redis):
    """Its caller was told already that it failed."""
    await connection.call(GET)
    call = asyncio.ensure_future(connection.call(Command(("SET", "a", "1"))))
    await asyncio.sleep(0)  # it stands in the queue, the task has not run
    call.cancel()
    await connection.call(GET)
    assert fake_redis.names() == ["GET", "GET"]


async def test_who_gives_up_while_it_is_sent_hurts_nobody(connection, fake_redis):
    """The reply is read, and dropped."""
    fake_redis.answer("GET", SILENCE, b"2")
    call = asyncio.ensure_future(connection.call(GET))
    await until(lambda: fake_redis.commands)
    call.cancel()
    fake_redis.send(b"1")
    assert await connection.call(GET) == b"2"


async def test_a_lost_repeatable_command_is_sent_again_over_a_new_connection(
    connection, fake_redis
):
    """Doing it twice is the same as doing it once."""
    fake_redis.answer("GET", CUT, b"value")
    assert await connection.call(GET) == b"value"
    assert fake_redis.accepted == 2


async def test_a_lost_command_that_is_not_repeatable_is_an_error(connection, fake_redis):
    """Nobody knows whether it was done. The next call finds a new connection."""
    fake_redis.answer("INCR", CUT, 2)
    with pytest.raises(RedisConnectionError):
        await connection.call(INCR)
    assert await connection.call(INCR) == 2
    assert fake_redis.names() == ["INCR", "INCR"]


async def test_a_command_lost_twice_is_an_error(connection, fake_redis):
    """Once is a link that was forgotten; twice is a server that is away."""
    fake_redis.answer("GET", CUT, CUT)
    with pytest.raises(RedisConnectionError):
        await connection.call(GET)
    assert fake_redis.accepted == 2


async def test_a_silent_server_costs_the_time_limit(hasty, fake_redis):
    """Even a repeatable command isn't sent again: that would cost it twice."""
    fake_redis.answer("GET", SILENCE)
    with pytest.raises(RedisTimeoutError, match=r"did not answer within 0\.3 s"):
        await hasty.call(GET)
    assert fake_redis.names() == ["GET"]
    assert await hasty.call(GET) == b"OK"
    assert fake_redis.accepted == 2


async def test_a_server_that_is_away_is_an_error():
    """At once."""
    connection = Connection(Host({"host": "127.0.0.1", "port": 1}))
    with pytest.raises(RedisConnectionError):
        await connection.call(GET)
    await connection.close()


async def test_a_server_that_takes_no_connection_costs_the_time_limit(hasty, monkeypatch):
    """Its port answers, its handshake does not."""

    class Stuck:
        is_connected = False

        async def connect(self):
            await asyncio.Event().wait()

        async def disconnect(self, nowait):
            pass

    monkeypatch.setattr(hasty, "make_link", Stuck)
    with pytest.raises(RedisTimeoutError, match=r"took no connection within 0\.3 s"):
        await hasty.call(GET)


async def test_an_unknown_script_is_sent_as_a_whole(connection, fake_redis):
    """And its reply put in its place among the others."""
    fake_redis.answer("EVALSHA", Exception("NOSCRIPT No matching script."))
    fake_redis.answer("EVAL", 5)
    replies = await connection.exchange([GET, SCRIPT.command(["k"], ["x"]), GET])
    assert replies == [b"OK", 5, b"OK"]
    assert fake_redis.commands[-1] == ["EVAL", "return 1", "1", "k", "x"]


async def test_a_replica_is_left(connection, fake_redis):
    """The name may mean another server now; others are told."""
    told = []
    connection.demotion_listeners.add(lambda: told.append(True))
    fake_redis.answer("INCR", Exception("READONLY You can't write"), 3)
    assert await connection.call(INCR) == 3
    assert told == [True]
    assert fake_redis.accepted == 2


async def test_an_idle_connection_is_asked_for_its_role(connection, fake_redis, clock):
    """Balancers forget idle ones."""
    await connection.call(GET)
    clock.move(IDLE_SECONDS + 1)
    await connection.call(GET)
    assert fake_redis.names() == ["GET", "ROLE", "GET"]
    assert fake_redis.accepted == 1


@pytest.mark.parametrize("answer", [CUT, SILENCE])
async def test_an_idle_connection_that_is_dead_is_made_anew(hasty, fake_redis, clock, answer):
    """Before anything is written that may not be written twice."""
    await hasty.call(INCR)
    clock.move(IDLE_SECONDS + 1)
    fake_redis.answer("ROLE", answer)
    assert await hasty.call(INCR) == b"OK"
    assert fake_redis.names() == ["INCR", "ROLE", "INCR"]
    assert fake_redis.accepted == 2


async def test_a_connection_that_was_closed_while_it_was_idle_is_made_anew(connection, fake_redis):
    """Its end is there to read."""
    await connection.call(INCR)
    link = connection._link
    fake_redis.cut()

    async def has_ended():
        try:
            return await link.can_read()
        except RedisConnectionError:
            return True

    await until(has_ended)
    assert await connection.call(INCR) == b"OK"
    assert fake_redis.accepted == 2


async def test_what_nobody_asked_for_ends_the_connection(connection, fake_redis):
    """A reply in the wrong place would be everybody's in turn."""
    await connection.call(GET)
    fake_redis.send(b"late")
    await until(lambda: connection._link.can_read())
    fake_redis.answer("GET", b"mine")
    assert await connection.call(GET) == b"mine"
    assert fake_redis.accepted == 2


async def test_close_fails_what_waits(connection, fake_redis):
    """Those sent and those queued."""
    fake_redis.answer("GET", SILENCE)
    sent = asyncio.ensure_future(connection.call(GET))
    await until(lambda: fake_redis.commands)
    queued = asyncio.ensure_future(connection.call(GET))
    await asyncio.sleep(0)
    await connection.close()
    for call in (sent, queued):
        with pytest.raises(RedisError, match="closed"):
            await call
    assert await connection.call(GET) == b"OK"  # it may be used again
    await connection.close()
    await connection.close()


async def test_the_loop_has_one_connection_to_a_host(fake_redis):
    """Shared by all who talk to it."""
    host = Host({"address": fake_redis.url})
    assert connection_to(host) is connection_to(Host({"address": fake_redis.url}))
    assert await connection_to(host).call(GET) == b"OK"


def test_the_loop_closes_its_connections(fake_redis):
    """And a new loop makes its own."""
    host = Host({"address": fake_redis.url})

    async def use():
        return await connection_to(host).call(GET)

    assert asyncio.run(use()) == asyncio.run(use()) == b"OK"
    assert fake_redis.accepted == 2


async def test_what_cannot_be_packed_fails_its_own_call(connection, fake_redis):
    """The next one works."""
    with pytest.raises(DataError):
        await connection.call(Command(("SET", "a", object())))
    assert await connection.call(GET) == b"OK"


async def test_several_hosts_at_the_same_time(fake_redis):
    """One that is away holds up no other; error replies are replies."""
    host, away = Host({"address": fake_redis.url}), Host({"host": "127.0.0.1", "port": 1})
    with FakeRedis() as other_redis:
        other = Host({"address": other_redis.url})
        other_redis.answer("INCR", Exception("ERR no"))
        replies = await exchange_all({away: [INCR], host: [GET, GET], other: [INCR]})
        assert list(replies) == [away, host, other]
        assert isinstance(replies[away], RedisConnectionError)
        assert replies[host] == [b"OK", b"OK"]
        assert isinstance(replies[other][0], ResponseError)
        assert isinstance((await exchange_all({away: [INCR]}))[away], RedisConnectionError)
        assert await exchange_all({}) == {}
        for each in (host, other):
            await connection_to(each).close()
