"""Connections for sync code, against a scripted server."""

import math
import os
import threading

import pytest
import redis

from bazis_ws_channels.redis import pool as module
from bazis_ws_channels.redis.blocking import exchange
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.pool import pool_of
from tests.unit.peers import CUT

SENTINEL = {"master_name": "main", "sentinels": [("s", 26379)]}
GET = Command(("GET", "a"))
LIMIT = 5
#: Nobody is in a hurry.
DEADLINE = math.inf


@pytest.fixture
def pool(fake_redis):
    """That of a scripted server, whose connections go with the test."""
    pool = pool_of(Host({"address": fake_redis.url}))
    yield pool
    pool.disconnect()


def test_how_it_connects(settings):
    """By address, by host, by sentinel; a pool for each time limit."""
    settings.BAZIS_WS_REDIS_TIMEOUT = 4
    host = Host({"address": "redis://db:1/2"})
    pool = pool_of(host)
    assert pool is pool_of(Host({"address": "redis://db:1/2"}))
    assert pool.factory.connection_kwargs["socket_connect_timeout"] == 2
    assert pool.factory.connection_kwargs["db"] == 2
    assert pool_of(Host({"host": "db"})).factory.connection_kwargs["host"] == "db"
    assert isinstance(pool_of(Host(SENTINEL)).factory, redis.SentinelConnectionPool)
    settings.BAZIS_WS_REDIS_TIMEOUT = 2
    assert pool_of(host) is not pool


def test_a_child_has_a_pool_of_its_own(monkeypatch):
    """Also where nobody told Python of the fork."""
    host = Host({"host": "db"})
    pool = pool_of(host)
    pid = os.getpid()
    monkeypatch.setattr(module.os, "getpid", lambda: pid + 1)
    assert pool_of(host) is not pool


def test_nobody_shares_a_connection(pool, fake_redis):
    """Not until it is given back."""
    first, second = pool.take(DEADLINE), pool.take(DEADLINE)
    assert first is not second
    pool.give_back(first)
    assert pool.take(DEADLINE) is first
    assert fake_redis.accepted == 2


def test_many_threads(pool, fake_redis):
    """No two have the same one at the same time."""
    used, shared = set(), []

    def borrow():
        for _ in range(200):
            link = pool.take(DEADLINE)
            shared.extend([link] if link in used else [])
            used.add(link)
            used.remove(link)
            pool.give_back(link)

    threads = [threading.Thread(target=borrow) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not shared
    assert fake_redis.accepted <= 10


def test_what_is_interrupted_costs_a_connection(pool, fake_redis, monkeypatch):
    """Its reply may still come: nobody else may get it. A soft time limit of Celery's, say."""
    host = Host({"address": fake_redis.url})
    link = pool.take(DEADLINE)
    pool.give_back(link)

    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(link.connection, "read_response", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exchange({host: [GET]}, LIMIT)
    assert exchange({host: [GET]}, LIMIT) == {host: [b"OK"]}
    assert fake_redis.accepted == 2


def test_a_connection_with_something_to_read_is_closed(pool, fake_redis):
    """As a rule it is its end."""
    link = pool.take(DEADLINE)
    pool.give_back(link)
    fake_redis.send("unasked")
    while not link.connection.can_read():
        pass
    assert pool.take(DEADLINE) is not link
    assert not link.connection.is_connected


def test_those_in_use_are_closed_when_they_come_back(pool):
    """The host's name may mean another server by then."""
    idle, used = pool.take(DEADLINE), pool.take(DEADLINE)
    pool.give_back(idle)
    pool.disconnect()
    assert not idle.connection.is_connected
    pool.give_back(used)
    assert not used.connection.is_connected
    assert pool.take(DEADLINE) not in (idle, used)


def test_another_address_of_the_host_ends_the_old_ones(pool):
    """Sentinel names a new primary as soon as one connection is made."""
    old, idle = pool.take(DEADLINE), pool.take(DEADLINE)
    pool.give_back(idle)
    assert idle.connection.host == "127.0.0.1"
    pool.factory.connection_kwargs["host"] = "localhost"
    new = pool.take(DEADLINE)
    assert new is idle
    newer = pool.take(DEADLINE)
    pool.give_back(new)
    pool.give_back(old)
    assert not old.connection.is_connected
    assert not new.connection.is_connected
    pool.give_back(newer)
    assert pool.take(DEADLINE) is newer


def test_a_user_who_may_not_ask_for_the_role(pool, fake_redis, monkeypatch):
    """An ACL's; the connection is used."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0)
    link = pool.take(DEADLINE)
    pool.give_back(link)
    fake_redis.answer("ROLE", Exception("NOPERM no"))
    assert pool.take(DEADLINE) is link


@pytest.mark.parametrize("answer", [CUT, [b"slave", b"h", 1]])
def test_after_a_long_time_the_others_go_too(pool, fake_redis, monkeypatch, answer):
    """They are as old, and lead to the same server."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0)
    links = [pool.take(DEADLINE) for _ in range(3)]
    for link in links:
        pool.give_back(link)
    fake_redis.answer("ROLE", answer)
    assert pool.take(DEADLINE) not in links
    assert not any(link.connection.is_connected for link in links)
