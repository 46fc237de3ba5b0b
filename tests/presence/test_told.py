"""Each change is told in the end, once: whatever fails, dies, is evicted or was never let in."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings

from bazis_ws_channels import presence
from bazis_ws_channels.presence.stores.base import Register, Restore
from bazis_ws_channels.presence.stores.redis import RedisStore
from bazis_ws_channels.redis.hosts import Host
from tests.kit import Client, until
from tests.presence.support import LEASE, PERIOD, is_online, keys, open_all, told
from tests.project.receivers import EDGES

SLOW_APP = "tests.presence.slow.SlowConfig"


@pytest.fixture
def here(start, own_redis, settings):
    """Start processes on a Redis of the test's own, which this process uses too."""
    valkey = own_redis()
    settings.CHANNEL_LAYERS = valkey.channel_layers

    async def begin(**options):
        return await start(CHANNEL_LAYERS=valkey.channel_layers, **options)

    begin.valkey = valkey
    return begin


async def allow(valkey, *rules):
    """Change what the server's only user may do."""
    await sync_to_async(valkey.client.execute_command)("ACL", "SETUSER", "default", *rules)


async def test_a_change_whose_push_failed_is_pushed_again(here, alice, bob):
    """Redis refuses PUBLISH for a while, and nothing else: the watcher hears of it afterwards."""
    server = await here()
    async with Client(server.ws, alice.ws_token()) as watcher:
        await watcher.subscribed()
        assert await watcher.watch(bob) == [False]
        await allow(here.valkey, "-publish")
        async with Client(server.ws, bob.ws_token()) as other:
            await other.subscribed()
            await until(lambda: "yet to be pushed" in server.log)
            await allow(here.valkey, "+publish")
            assert (await watcher.receive_type("presence"))["is_online"]
        assert not (await watcher.receive_type("presence"))["is_online"]
        assert await watcher.settle() == []
    await until(lambda: not here.valkey.client.hlen("user_ws.edges"))


@pytest.mark.parametrize("lost", ["session", "process", "online", "processes", "lease", "all"])
async def test_what_was_evicted_is_written_again(here, alice, bob, redis, lost):
    """Within a period, and without a word to anybody: nobody had gone."""
    server = await here()
    client = here.valkey.client
    async with AsyncExitStack() as stack:
        watcher, _ = await open_all(stack, [(server, bob), (server, alice)])
        assert await watcher.watch(alice) == [True]
        await until(lambda: len(told(redis)) == 2)
        name = client.hvals(alice.ws_session)[0]
        names = {
            "session": [alice.ws_session],
            "process": [f"user_ws.process.{name}"],
            "online": ["user_ws.online"],
            "processes": ["user_ws.processes"],
            "lease": [f"user_ws.lease.{name}"],
            "all": client.keys("user_ws.*"),
        }
        assert client.delete(*names[lost])
        evicted_at = time.monotonic()
        online = {alice.pk, bob.pk}

        async def are_back():
            return await presence.aonline([alice, bob]) == await presence.aonline_users() == online

        await until(are_back)
        assert time.monotonic() - evicted_at < 3 * PERIOD + 1
        await until(lambda: client.scard("user_ws.processes") == 1)
        assert await watcher.settle() == []
        assert len(told(redis)) == 2
    await until(lambda: len(told(redis)) == 4)


async def test_steady_eviction(start, own_redis, settings, make_users, redis):
    """A cache that fills the same Redis over and over: who is connected comes back each time."""
    valkey = own_redis(maxmemory="4mb", **{"maxmemory-policy": "allkeys-random"})
    settings.CHANNEL_LAYERS = valkey.channel_layers
    server = await start(CHANNEL_LAYERS=valkey.channel_layers)
    users = await make_users(20)
    pks = {user.pk for user in users}

    def fill():
        pipe = valkey.client.pipeline(transaction=False)
        for number in range(3000):
            pipe.set(f"cache:{number}", "x" * 1000)
        pipe.execute()
        return valkey.client.info("stats")["evicted_keys"]

    async with AsyncExitStack() as stack:
        await open_all(stack, [(server, user) for user in users])
        for _ in range(10):
            assert await sync_to_async(fill)() > 0
        # Nothing is evicted from here on: a departure that is would be told by nobody.
        await sync_to_async(valkey.client.delete)(*(f"cache:{number}" for number in range(3000)))

        async def are_back():
            return await presence.aonline(users) == await presence.aonline_users() == pks

        await until(are_back, 3 * PERIOD + 3)
    await until(lambda: len([edge for edge in told(redis) if "offline" in edge]) == len(users))


async def test_a_process_that_stops_leaves_what_it_has_not_told(start, pair, make_users, redis):
    """500 users of a dead peer, a receiver that takes 30 ms: all are told once, by two."""
    stopping = await start(INSTALLED_APPS=with_slow_receiver())
    users = await make_users(502)
    first, second, *gone = users
    async with AsyncExitStack() as stack:
        await open_all(stack, [(stopping, first)])
        store = RedisStore(Host({"address": redis_url(redis)}))
        await die_with(store, gone)
        await until(lambda: redis.llen(EDGES) > 100)
        stopping.terminate()
        await asyncio.to_thread(stopping.wait)
        seen = redis.llen(EDGES)
        assert seen < 450
        await open_all(stack, [(pair[0], second)])
        expected = sorted(f"offline:{user.pk}" for user in gone)
        await until(lambda: redis.llen(EDGES) >= len(gone) + 2)
    await until(lambda: not keys(redis))
    offline = [edge for edge in told(redis, *gone) if edge.startswith("offline")]
    assert sorted(offline) == expected


async def test_receivers_run_a_few_at_a_time(start, make_users, redis):
    """A receiver that takes 30 ms: far more than 33 changes a second."""
    server = await start(INSTALLED_APPS=with_slow_receiver())
    users = await make_users(301)
    first, *gone = users
    async with AsyncExitStack() as stack:
        await open_all(stack, [(server, first)])
        await die_with(RedisStore(Host({"address": redis_url(redis)})), gone)
        await until(lambda: redis.llen(EDGES) > 10)
        started_at, before = time.monotonic(), redis.llen(EDGES)
        await until(lambda: redis.llen(EDGES) >= 250)
        rate = (redis.llen(EDGES) - before) / (time.monotonic() - started_at)
    print(f"{rate:.0f} changes a second")
    assert rate > 70
    await until(lambda: not keys(redis))


@pytest.fixture(params=["one Redis for all", "one for presence"])
async def outage(request, start, own_redis, settings):
    """A server, and the Redis of its presence, with which the layer's may go down too."""
    valkey = own_redis()
    options = {"BAZIS_WS_REDIS_URL": valkey.url}
    if request.param == "one Redis for all":
        options = {"CHANNEL_LAYERS": valkey.channel_layers}
    for name, value in options.items():
        setattr(settings, name, value)
    return await start(**options), valkey


async def test_who_was_refused_in_an_outage_is_told_online_when_let_in(
    outage, alice, bob, make_user, redis
):
    """And who never got in is not told offline."""
    server, valkey = outage
    carol = await sync_to_async(make_user)("carol")
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await until(lambda: told(redis))
        await asyncio.to_thread(valkey.kill)
        for user in (bob, carol):
            async with Client(server.ws, user.ws_token()) as refused:
                assert await refused.closed() == 4500
        await until(lambda: "presence store failed" in server.log)
        await asyncio.to_thread(valkey.start)
        await until(lambda: "lease was lost" in server.log)
        async with Client(server.ws, bob.ws_token()) as late:
            await late.subscribed()
            await until(lambda: told(redis, bob) == [f"online:{bob.pk}"])
        await until(lambda: len(told(redis, bob)) == 2)
        await until(lambda: not valkey.client.exists("user_ws.leaving"))
        assert await is_online(alice)
    await until(lambda: len(told(redis, alice)) == 2)
    assert told(redis, bob) == [f"online:{bob.pk}", f"offline:{bob.pk}"]
    assert told(redis, carol) == []


async def test_a_clock_that_goes_back_hides_no_change(pair, alice, bob, redis):
    """A failover to a machine whose clock is a minute slow: numbers go on where they were."""
    async with Client(pair[0].ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        seconds, us = redis.time()
        redis.set("user_ws.seq", seconds * 10**6 + us + 60 * 10**6)
        assert await watcher.watch(alice) == [False]
        for _ in range(3):
            async with Client(pair[1].ws, alice.ws_token()) as tab:
                await tab.subscribed()
                assert (await watcher.receive_type("presence"))["is_online"]
            assert not (await watcher.receive_type("presence"))["is_online"]
        assert await watcher.settle() == []


def redis_url(redis):
    """Return the URL of a client's server."""
    options = redis.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}"


def with_slow_receiver():
    """Return INSTALLED_APPS with an app whose receivers take 30 ms."""
    return [*django_settings.INSTALLED_APPS, SLOW_APP]


async def die_with(store, users):
    """Let a process with a session of each user be there, and its lease run out."""
    await store.aask(Register("doomed", int(LEASE * 1000)))
    records = [(f"c{user.pk}", str(user.pk)) for user in users]
    await store.aask(Restore("doomed", "none", records))
