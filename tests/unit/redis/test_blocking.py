"""Redis for sync code, against scripted servers."""

import math
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from bazis_ws_channels.redis import pool
from bazis_ws_channels.redis.blocking import exchange
from bazis_ws_channels.redis.commands import Command, Script
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.pool import pool_of
from tests.unit.peers import CUT, SILENCE, FakeRedis

GET = Command(("GET", "a"), is_repeatable=True)
INCR = Command(("INCR", "a"))
LIMIT = 5


@pytest.fixture
def host(fake_redis):
    """Its host, whose connections go with the test."""
    host = Host({"address": fake_redis.url, "socket_timeout": 2})
    yield host
    pool_of(host).disconnect()


@pytest.fixture
def hasty(fake_redis):
    """The same, with very little patience."""
    host = Host({"address": fake_redis.url, "socket_timeout": 0.3})
    yield host
    pool_of(host).disconnect()


def test_replies_in_order(host, fake_redis):
    """Error replies are some of them."""
    fake_redis.answer("GET", b"1", Exception("WRONGTYPE no"), b"3")
    replies = exchange({host: [GET, GET, GET]}, LIMIT)[host]
    assert replies[::2] == [b"1", b"3"]
    assert isinstance(replies[1], ResponseError)


def test_a_connection_is_used_again(host, fake_redis):
    """Pooled."""
    for _ in range(3):
        assert exchange({host: [GET]}, LIMIT) == {host: [b"OK"]}
    assert fake_redis.accepted == 1


def test_several_hosts_in_one_wait(host, fake_redis):
    """One that is away holds up no other."""
    with FakeRedis() as other_redis:
        other, away = Host({"address": other_redis.url}), Host({"host": "127.0.0.1", "port": 1})
        replies = exchange({away: [INCR], host: [GET], other: [GET, GET]}, LIMIT)
        assert isinstance(replies[away], RedisConnectionError)
        assert replies[host] == [b"OK"]
        assert replies[other] == [b"OK", b"OK"]
        pool_of(other).disconnect()


def test_a_silent_host_takes_no_time_of_another(hasty, fake_redis):
    """Its replies are there, unread."""
    fake_redis.answer("INCR", SILENCE)
    with FakeRedis() as other_redis:
        other = Host({"address": other_redis.url, "socket_timeout": 0.2})
        replies = exchange({hasty: [INCR], other: [INCR, INCR]}, LIMIT)
        assert isinstance(replies[hasty], RedisTimeoutError)
        assert replies[other] == [b"OK", b"OK"]


def test_lost_repeatable_commands_are_sent_again(host, fake_redis):
    """All of the host's, over a new connection."""
    fake_redis.answer("GET", b"lost", CUT, b"1", b"2")
    assert exchange({host: [GET, GET]}, LIMIT) == {host: [b"1", b"2"]}
    assert fake_redis.accepted == 2


def test_lost_commands_that_are_not_repeatable_are_an_error(host, fake_redis):
    """Nobody knows what was done of them."""
    fake_redis.answer("INCR", CUT)
    assert isinstance(exchange({host: [GET, INCR]}, LIMIT)[host], RedisConnectionError)
    assert fake_redis.accepted == 1
    assert exchange({host: [INCR]}, LIMIT) == {host: [b"OK"]}


def test_a_command_lost_twice_is_an_error(host, fake_redis):
    """Once is a link that was forgotten; twice is a server that is away."""
    fake_redis.answer("GET", CUT, CUT)
    assert isinstance(exchange({host: [GET]}, LIMIT)[host], RedisConnectionError)


def test_a_silent_server_costs_its_time_limit_once(hasty, fake_redis):
    """And its connection is not used again: the reply may come late."""
    fake_redis.answer("GET", SILENCE)
    assert isinstance(exchange({hasty: [GET]}, LIMIT)[hasty], RedisTimeoutError)
    assert fake_redis.names() == ["GET"]
    assert exchange({hasty: [GET]}, LIMIT) == {hasty: [b"OK"]}
    assert fake_redis.accepted == 2


def test_the_limit_is_one_of_all(host, fake_redis):
    """However long a host's own is."""
    fake_redis.answer("GET", SILENCE)
    started_at = time.monotonic()
    answer = exchange({host: [GET, GET]}, 0.05)[host]
    assert isinstance(answer, RedisTimeoutError)
    assert time.monotonic() - started_at < 1


def test_no_time_left_is_a_time_out(host, fake_redis):
    """Unless the reply is there."""
    fake_redis.answer("GET", SILENCE)
    answer = exchange({host: [GET]}, -1)[host]
    assert isinstance(answer, RedisTimeoutError)
    assert "did not answer in time" in str(answer)


def test_an_unknown_script_is_sent_as_a_whole(host, fake_redis):
    """Its reply is put in its place."""
    fake_redis.answer("EVALSHA", Exception("NOSCRIPT No matching script."))
    fake_redis.answer("EVAL", 5)
    command = Script("return 5").command(["k"], [])
    assert exchange({host: [INCR, command, INCR]}, LIMIT) == {host: [b"OK", 5, b"OK"]}
    assert fake_redis.names() == ["INCR", "EVALSHA", "INCR", "EVAL"]


def test_a_second_try_that_fails_is_the_answer(host, fake_redis):
    """Nobody knows what was done by it."""
    fake_redis.answer("EVALSHA", Exception("NOSCRIPT No matching script."))
    fake_redis.answer("EVAL", CUT)
    command = Script("return 5").command(["k"], [])
    assert isinstance(exchange({host: [command]}, LIMIT)[host], RedisConnectionError)


def test_a_replica_is_left(host, fake_redis):
    """With all connections to it: the name may mean another server now."""
    fake_redis.answer("INCR", Exception("READONLY You can't write"), 3)
    assert exchange({host: [INCR]}, LIMIT) == {host: [3]}
    assert fake_redis.accepted == 2


@pytest.fixture
def idle(monkeypatch):
    """Let every connection count as idle for long."""
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0)


def test_an_idle_connection_is_asked_for_its_role(host, fake_redis, idle):
    """Balancers forget idle ones; a new one needs no ping."""
    exchange({host: [INCR]}, LIMIT)
    exchange({host: [INCR]}, LIMIT)
    assert fake_redis.names()[-3:] == ["INCR", "ROLE", "INCR"]
    assert fake_redis.accepted == 1


@pytest.mark.parametrize("answer", [CUT, SILENCE])
def test_an_idle_connection_that_is_dead_is_made_anew(hasty, fake_redis, idle, answer):
    """Before anything is written that may not be written twice."""
    exchange({hasty: [INCR]}, LIMIT)
    before = len(fake_redis.commands)
    fake_redis.answer("ROLE", answer)
    assert exchange({hasty: [INCR]}, LIMIT) == {hasty: [b"OK"]}
    assert fake_redis.names()[before:] == ["ROLE", "INCR"]
    assert fake_redis.accepted == 2


def test_an_idle_connection_that_is_dead_to_a_server_that_takes_no_other(host, fake_redis, idle):
    """Until it takes one again."""
    exchange({host: [INCR]}, LIMIT)
    fake_redis.refuse()
    fake_redis.answer("ROLE", CUT)
    assert isinstance(exchange({host: [INCR]}, LIMIT)[host], RedisConnectionError)


def test_an_idle_connection_when_no_time_is_left(host, fake_redis, idle):
    """Another host has taken it all: it is looked at all the same, for a moment."""
    exchange({host: [INCR]}, LIMIT)
    fake_redis.answer("ROLE", SILENCE)
    fake_redis.answer("INCR", SILENCE)
    assert isinstance(exchange({host: [INCR]}, -1)[host], RedisTimeoutError)


def test_a_connection_that_breaks_while_it_is_written_to(host, fake_redis, monkeypatch):
    """Of several hosts only that one has no replies."""
    link = pool_of(host).take(math.inf)
    pool_of(host).give_back(link)

    def breaks(*args, **kwargs):
        raise RedisConnectionError("broken pipe")

    monkeypatch.setattr(link.connection, "send_packed_command", breaks)
    with FakeRedis() as other_redis:
        other = Host({"address": other_redis.url})
        replies = exchange({host: [INCR], other: [INCR]}, LIMIT)
        assert isinstance(replies[host], RedisConnectionError)
        assert replies[other] == [b"OK"]
        pool_of(other).disconnect()


def test_an_idle_connection_to_a_server_that_is_gone(host, fake_redis, idle):
    """An error, until there is one."""
    exchange({host: [INCR]}, LIMIT)
    fake_redis.__exit__()
    try:
        assert isinstance(exchange({host: [INCR]}, LIMIT)[host], RedisConnectionError)
    finally:
        fake_redis.__enter__()
