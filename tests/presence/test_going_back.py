"""A Redis that lost its memory, or went back to what it once held: a replica without the newest
data, a snapshot. Within a period all is right again.
"""

import asyncio
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.kit import Client, until
from tests.presence.support import is_online, keys, open_all, told

#: A grace that outlives a restart of Redis.
GRACE = 1


@pytest.fixture
async def server(start, own_redis, settings):
    """A process on a Redis of the test's own, `server.valkey`, which this process uses too."""
    valkey = own_redis()
    settings.CHANNEL_LAYERS = valkey.channel_layers
    server = await start(CHANNEL_LAYERS=valkey.channel_layers, BAZIS_WS_OFFLINE_GRACE_SECONDS=GRACE)
    server.valkey = valkey
    return server


async def restart(valkey):
    """Kill Redis and start it with what it has saved."""
    await sync_to_async(valkey.kill)()
    await sync_to_async(valkey.start)()


async def test_a_grace_that_redis_forgets(server, alice, bob, redis):
    """Who is away is told offline all the same: only Redis knew that somebody had left."""
    async with Client(server.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        assert await watcher.watch(alice) == [False]
        async with Client(server.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            assert (await watcher.receive_type("presence"))["is_online"]
        await until(lambda: server.valkey.client.zscore("user_ws.leaving", str(alice.pk)))
        server.valkey.client.flushall()
        assert not (await watcher.receive_type("presence"))["is_online"]
        expected = [f"online:{alice.pk}", f"offline:{alice.pk}"]
        await until(lambda: told(redis, alice) == expected)
        assert await presence.aonline_users() == {bob.pk}
    await until(lambda: not keys(server.valkey.client))
    assert told(redis, alice) == expected


async def test_the_last_grace_that_redis_forgets(server, alice, redis):
    """Also where nobody is connected any more."""
    async with Client(server.ws, alice.ws_token()) as tab:
        await tab.subscribed()
    await until(lambda: server.valkey.client.zscore("user_ws.leaving", str(alice.pk)))
    server.valkey.client.flushall()
    await until(lambda: told(redis) == [f"online:{alice.pk}", f"offline:{alice.pk}"])
    await until(lambda: not keys(server.valkey.client))


async def test_who_comes_back_after_redis_forgot_the_grace(server, alice, redis):
    """Never went."""
    async with Client(server.ws, alice.ws_token()) as tab:
        await tab.subscribed()
    await until(lambda: server.valkey.client.zscore("user_ws.leaving", str(alice.pk)))
    server.valkey.client.flushall()
    await until(lambda: server.valkey.client.zscore("user_ws.leaving", str(alice.pk)))
    async with Client(server.ws, alice.ws_token()) as tab:
        await tab.subscribed()
        await until(lambda: not server.valkey.client.exists("user_ws.leaving"))
        assert told(redis) == [f"online:{alice.pk}"]


async def test_a_session_that_had_ended(server, alice, bob, redis):
    """Redis believes that it is open, and nobody will ever close it."""
    async with Client(server.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        async with Client(server.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            assert await watcher.watch(alice) == [True]
            server.valkey.client.save()
        await until(lambda: not server.valkey.client.exists(alice.ws_session))
        await restart(server.valkey)
        assert not (await watcher.receive_type("presence"))["is_online"]
        assert not await is_online(alice)
        assert await presence.aonline_users() == {bob.pk}
    await until(lambda: not keys(server.valkey.client))


async def test_a_session_of_which_redis_knows_nothing(server, alice, bob, redis):
    """Though its user has another one."""
    async with Client(server.ws, alice.ws_token()) as one:
        await one.subscribed()
        await until(lambda: not server.valkey.client.exists("user_ws.edges"))
        server.valkey.client.save()
        async with Client(server.ws, alice.ws_token()) as other:
            await other.subscribed()
            await restart(server.valkey)
            await until(lambda: server.valkey.client.hlen(alice.ws_session) == 2)
            await one.socket.close()
            await until(lambda: server.valkey.client.hlen(alice.ws_session) == 1)
            assert await is_online(alice)
    await until(lambda: told(redis) == [f"online:{alice.pk}", f"offline:{alice.pk}"])


async def test_a_session_of_which_redis_knows_nothing_and_whose_user_was_told_offline(
    server, alice, bob, redis
):
    """By another process, after Redis had gone back: it is told online again."""
    client = server.valkey.client
    async with Client(server.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        async with Client(server.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            assert await watcher.watch(alice) == [True]
            await until(lambda: not client.exists("user_ws.edges"))
            [(session, process)] = client.hgetall(alice.ws_session).items()
            pipe = client.pipeline()
            pipe.hdel(alice.ws_session, session).srem("user_ws.online", str(alice.pk))
            pipe.hdel(f"user_ws.process.{process}", session)
            pipe.execute()
            client.client_kill_filter(_type="normal")
            await until(lambda: told(redis, alice) == [f"online:{alice.pk}"] * 2)
            assert client.hgetall(alice.ws_session) == {session: process}
            assert await watcher.settle() == []


async def test_a_session_that_began_and_ended_in_vain(server, alice, bob, redis):
    """Redis knows neither: its user was told online, and is told offline."""
    async with Client(server.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        assert await watcher.watch(alice) == [False]
        await until(lambda: not server.valkey.client.exists("user_ws.edges"))
        server.valkey.client.save()
        async with Client(server.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            assert (await watcher.receive_type("presence"))["is_online"]
        await until(lambda: server.valkey.client.zscore("user_ws.leaving", str(alice.pk)))
        await restart(server.valkey)
        expected = [f"online:{alice.pk}", f"offline:{alice.pk}"]
        await until(lambda: told(redis, alice) == expected)
        assert not (await watcher.receive_type("presence"))["is_online"]


async def test_a_change_that_had_been_told(server, alice, bob, redis):
    """It is in Redis again, as this process's, and is told again: else no later change would be."""
    async with Client(server.ws, bob.ws_token()) as client:
        await client.subscribed()
        await until(lambda: not server.valkey.client.exists("user_ws.edges"))
        [process] = server.valkey.client.hvals(bob.ws_session)
        entry = f"1|0|1|1|{process}"
        server.valkey.client.hset("user_ws.edges", str(alice.pk), entry)
        server.valkey.client.client_kill_filter(_type="normal")
        await until(lambda: told(redis, alice) == [f"offline:{alice.pk}"])
        await until(lambda: not server.valkey.client.exists("user_ws.edges"))


async def test_who_comes_before_it_is_noticed(server, make_users, redis):
    """The sign-in that finds the loss waits until all is written that this process knows: neither
    who is there nor who has just left is told online again.
    """
    there, away, *others = await make_users(30)
    async with AsyncExitStack() as stack:
        await open_all(stack, [(server, user) for user in (there, *others)])
        async with Client(server.ws, away.ws_token()) as tab:
            await tab.subscribed()
        await until(lambda: server.valkey.client.zscore("user_ws.leaving", str(away.pk)))
        await until(lambda: not server.valkey.client.exists("user_ws.edges"))
        before = told(redis)
        assert len(before) == 30
        server.valkey.client.flushall()
        await asyncio.gather(
            *(open_all(stack, [(server, user)]) for user in (there, away, there, away, *others))
        )
        await until(lambda: not server.valkey.client.exists("user_ws.edges"))
        assert told(redis) == before
