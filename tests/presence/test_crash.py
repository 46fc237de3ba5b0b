"""Presence after kill -9, a restarted Redis, a stalled event loop, a wrong clock."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.kit import Client, Proxy, until
from tests.presence.support import (
    LEASE,
    PERIOD,
    FutureDaphne,
    all_noted,
    commands,
    is_online,
    keys,
    open_all,
    times_logged,
    told,
)

USERS, BOTH = 200, 50
#: The settings' own defaults.
DEFAULT = {
    "BAZIS_WS_LEASE_SECONDS": 10,
    "BAZIS_WS_RENEW_SECONDS": 5,
    "BAZIS_WS_OFFLINE_GRACE_SECONDS": 5,
}
#: For a busy machine: what a promise in seconds may take longer here.
SLACK = 3


async def test_kill_of_one_of_two_processes(start, make_users, redis):
    """Within lease and period exactly its own users are offline, told once; none flickers."""
    doomed, survivor = await asyncio.gather(start(), start())
    users = await make_users(USERS)
    both, alone = users[:BOTH], users[BOTH:]
    connections = [(doomed, user) for user in users] + [(survivor, user) for user in both]
    async with AsyncExitStack() as stack:
        await open_all(stack, connections)
        await until(lambda: len(told(redis)) == USERS)
        assert await presence.aonline_count() == USERS
        await all_noted(redis)
        doomed.kill()
        killed_at = time.monotonic()

        async def only_the_others_are_gone():
            online = await presence.aonline(users)
            assert online >= {user.pk for user in both}, "flickered"
            return len(online) == BOTH

        await until(only_the_others_are_gone)
        assert await presence.aonline_users() == {user.pk for user in both}
        offline = sorted(f"offline:{user.pk}" for user in alone)
        await until(lambda: len(told(redis)) >= USERS + len(offline))
        assert time.monotonic() - killed_at < LEASE + PERIOD + SLACK
        assert sorted(told(redis)[USERS:]) == offline
        await until(lambda: redis.scard("user_ws.processes") == 1)
    await until(lambda: not keys(redis))
    assert sorted(told(redis)) == sorted(
        f"{kind}line:{u.pk}" for u in users for kind in ("on", "off")
    )


async def test_kill_with_the_default_lease(start, alice, bob, redis):
    """With nothing set, a dead process's user is offline within 15 seconds, and online until
    the lease ran out."""
    doomed, survivor = await asyncio.gather(*(start(**DEFAULT) for _ in range(2)))
    async with AsyncExitStack() as stack:
        await open_all(stack, [(doomed, alice), (survivor, bob)])
        await until(lambda: len(told(redis)) == 2)
        process = redis.hvals(alice.ws_session)[0]
        await all_noted(redis)
        doomed.kill()
        killed_at = time.monotonic()
        left_ms = redis.pttl(f"user_ws.lease.{process}")
        assert 4000 < left_ms <= 10_000
        assert await is_online(alice)
        await until(lambda: told(redis, alice) == [f"online:{alice.pk}", f"offline:{alice.pk}"])
        assert left_ms / 1000 <= time.monotonic() - killed_at < 15 + SLACK
        assert not await is_online(alice)
        assert await is_online(bob)


async def test_what_a_crash_left_is_swept_by_the_next_process(start, pair, alice, bob, redis):
    """If no process was there to see it, the next one tells and cleans up."""
    doomed = await start()
    async with AsyncExitStack() as stack:
        await open_all(stack, [(doomed, alice)])
        await until(lambda: told(redis))
        await all_noted(redis)
        doomed.kill()
    await until(lambda: not redis.keys("user_ws.lease.*"))
    assert not await is_online(alice)
    async with Client(pair[0].ws, bob.ws_token()) as client:
        await client.subscribed()
        await until(lambda: f"offline:{alice.pk}" in told(redis))
    await until(lambda: not keys(redis))
    assert told(redis, alice) == [f"online:{alice.pk}", f"offline:{alice.pk}"]


async def test_kill_within_the_grace(start, pair, alice, bob, redis):
    """A user who left just before the process died is told offline by another, once."""
    # Long enough for it to be killed before it tells: in that moment, twice would be right.
    doomed = await start(BAZIS_WS_OFFLINE_GRACE_SECONDS=3)
    async with Client(pair[0].ws, bob.ws_token()) as client:
        await client.subscribed()
        async with Client(doomed.ws, alice.ws_token()) as tab:
            await tab.subscribed()
        await until(lambda: redis.zscore("user_ws.leaving", str(alice.pk)) and told(redis, alice))
        await all_noted(redis)
        doomed.kill()
        await until(lambda: f"offline:{alice.pk}" in told(redis))
        await until(lambda: redis.scard("user_ws.processes") == 1)
    await until(lambda: not keys(redis))
    assert told(redis, alice) == [f"online:{alice.pk}", f"offline:{alice.pk}"]


async def test_whose_page_is_loaded_again_while_the_former_process_is_buried(
    start, alice, bob, redis
):
    """What the dead process left behind doesn't shorten the grace of who left a living one."""
    doomed = await start(BAZIS_WS_LEASE_SECONDS=60)
    survivor = await start(BAZIS_WS_OFFLINE_GRACE_SECONDS=60)
    async with Client(survivor.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        async with Client(doomed.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            dead = redis.hvals(alice.ws_session)
            await all_noted(redis)
            doomed.kill()
        assert await watcher.watch(alice) == [True]
        async with Client(survivor.ws, alice.ws_token()) as tab:
            await tab.subscribed()
        await until(lambda: redis.hvals(alice.ws_session) == dead)
        redis.delete(f"user_ws.lease.{dead[0]}")
        await until(lambda: redis.scard("user_ws.processes") == 1)
        assert await watcher.watch(alice) == [True]
        async with Client(survivor.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            assert await watcher.settle() == []
            assert told(redis, alice) == [f"online:{alice.pk}"]


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_grace_that_is_longer_than_the_lease(start, alice, bob, redis, comes_back):
    """It holds for the users of a killed process, too; then they are told, without any peer."""
    doomed = await start()
    survivor = await start(BAZIS_WS_OFFLINE_GRACE_SECONDS=60 if comes_back else 2.5)
    async with Client(survivor.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        async with Client(doomed.ws, alice.ws_token()) as tab:
            await tab.subscribed()
            await all_noted(redis)
            doomed.kill()
        killed_at = time.monotonic()
        assert await watcher.watch(alice) == [True]
        await until(lambda: redis.scard("user_ws.processes") == 1)
        assert not await is_online(alice)
        if comes_back:
            async with Client(survivor.ws, alice.ws_token()) as tab:
                await tab.subscribed()
                assert await watcher.settle() == []
        else:
            assert not (await watcher.receive_type("presence"))["is_online"]
            assert time.monotonic() - killed_at > 2.5
            expected = [f"online:{alice.pk}", f"offline:{alice.pk}"]
            await until(lambda: told(redis, alice) == expected)


async def watch_each_other(clients, users):
    """Let every tenth client watch the first ten users."""
    for client in clients[::10]:
        await client.send({"type": "watch", "users": [user.pk for user in users[:10]]})
        for _ in users[:10]:
            assert (await client.receive_type("presence"))["is_online"]


async def assert_undisturbed(clients):
    """No socket was closed, and nobody was told of anybody's status."""
    frames = [frame for client in clients for frame in await client.settle()]
    assert {frame["type"] for frame in frames} <= {"missed"}  # where Redis lost its memory


async def test_redis_restarted_empty(start, own_redis, make_users, redis, settings):
    """All are online again within a period; nobody is told offline, no socket is closed."""
    server = own_redis()
    # On a busy machine a process may stand still for the lease of the other tests, and be dead.
    patient = {**server.settings, "BAZIS_WS_LEASE_SECONDS": 10}
    processes = await asyncio.gather(*(start(**patient) for _ in range(2)))
    settings.BAZIS_WS_REDIS_URL = server.url
    users = await make_users(USERS)
    async with AsyncExitStack() as stack:
        connections = [(processes[n % 2], user) for n, user in enumerate(users)]
        clients = await open_all(stack, connections)
        await watch_each_other(clients, users)
        server.kill()
        server.start()
        started_at = time.monotonic()
        pks = {user.pk for user in users}

        async def are_back():
            return await presence.aonline_users() == pks

        await until(are_back)
        assert time.monotonic() - started_at < PERIOD + SLACK
        await assert_undisturbed(clients)
        assert sorted(told(redis)) == sorted(f"online:{pk}" for pk in pks)
        await until(lambda: times_logged(processes, "The presence lease was lost") == [1, 1])
    await until(lambda: not keys(server.client))
    assert sorted(told(redis)[USERS:]) == sorted(f"offline:{pk}" for pk in pks)


async def test_redis_back_with_what_it_had_saved(start, own_redis, make_users, redis, settings):
    """Down for longer than one process's lease and shorter than the other's: the one that still
    has its lease does not take the other, which comes back later, for dead."""
    server = own_redis()
    settings.BAZIS_WS_REDIS_URL = server.url
    users = await make_users(20)
    pks = {user.pk for user in users}
    with Proxy(server.url) as proxy:
        async with AsyncExitStack() as stack:
            processes = await asyncio.gather(
                start(**server.settings, BAZIS_WS_LEASE_SECONDS=4),
                start(**server.settings, BAZIS_WS_REDIS_URL=proxy.url),
            )
            connections = [(processes[n % 2], user) for n, user in enumerate(users)]
            clients = await open_all(stack, connections)
            await watch_each_other(clients, users)
            opened_at = time.monotonic()
            await until(lambda: time.monotonic() - opened_at > 4)  # now it may call others dead
            server.client.save()
            proxy.cut_at(b"")
            server.kill()
            killed_at = time.monotonic()
            await until(lambda: time.monotonic() - killed_at > LEASE)
            server.start()
            await until(lambda: commands(server.client) >= 4)  # it has renewed and swept
            assert server.client.scard("user_ws.processes") == 2
            assert await presence.aonline_count() == len(users) / 2
            proxy.cut_at(None)

            async def are_back():
                return await presence.aonline_users() == pks

            await until(are_back)
            await until(lambda: server.client.scard("user_ws.processes") == 2)
            await assert_undisturbed(clients)
            assert sorted(told(redis)) == sorted(f"online:{pk}" for pk in pks)
            await until(lambda: times_logged(processes, "The presence lease was lost") == [0, 1])
            await until(lambda: times_logged(processes, "The presence store failed") == [1, 1])
        await until(lambda: not keys(server.client))


async def test_an_event_loop_that_stalls(pair, alice, bob, redis):
    """Blocked for longer than the lease, its users are told offline by a peer, and come back by
    themselves; without a peer nobody hears of it."""
    async with AsyncExitStack() as stack:
        (watcher,) = await open_all(stack, [(pair[1], bob)])
        assert await watcher.watch(alice) == [False]
        stalled = await stack.enter_async_context(Client(project(pair[0]), alice.ws_token()))
        await stalled.subscribed()
        await until(lambda: told(redis, alice))
        await stalled.send({"type": "block", "seconds": LEASE + 6 * PERIOD})
        statuses = [(await watcher.receive_type("presence"))["is_online"] for _ in range(3)]
        assert statuses == [True, False, True]
        await stalled.receive_type("block_done")
        assert await is_online(alice)
        expected = [f"{kind}:{alice.pk}" for kind in ("online", "offline", "online")]
        await until(lambda: told(redis, alice) == expected)
        await stalled.socket.close()
        await until(lambda: told(redis, alice) == [*expected, f"offline:{alice.pk}"])


async def test_a_lonely_event_loop_that_stalls(pair, alice, redis):
    """If no peer buried its users, nothing is told, and they are online again."""
    async with Client(project(pair[0]), alice.ws_token()) as client:
        await client.subscribed()
        await until(lambda: told(redis) == [f"online:{alice.pk}"])
        await client.send({"type": "block", "seconds": LEASE + 5 * PERIOD})
        await until(lambda: not redis.keys("user_ws.lease.*"))
        assert not await is_online(alice)
        await client.receive_type("block_done")
        await until(lambda: is_online(alice))
        assert told(redis) == [f"online:{alice.pk}"]
    await until(lambda: told(redis) == [f"online:{alice.pk}", f"offline:{alice.pk}"])


async def test_a_clock_that_is_wrong_by_an_hour(start, pair, alice, bob, redis):
    """One server lives in the future: who is online, what is told and when stays right."""
    future = await start(FutureDaphne)
    async with AsyncExitStack() as stack:
        (watcher,) = await open_all(stack, [(pair[0], bob)])
        assert await watcher.watch(alice) == [False]
        here, there = await open_all(stack, [(pair[1], alice), (future, alice)])
        await until(lambda: redis.scard("user_ws.processes") == 3)
        await here.socket.close()
        await until(lambda: redis.hlen(alice.ws_session) == 1)
        assert await is_online(alice)
        await there.socket.close()
        await until(lambda: f"offline:{alice.pk}" in told(redis))
        online, offline = [await watcher.receive_type("presence") for _ in range(2)]
        assert [each["is_online"] for each in (online, offline)] == [True, False]
        assert await sync_to_async(lambda: alice.last_seen.isoformat())() == offline["last_seen"]
        assert abs(redis.zscore("user_ws.last_seen", str(alice.pk)) / 1e6 - time.time()) < 60
        await open_all(stack, [(future, alice)])
        await until(lambda: len(told(redis, alice)) == 3)
        await all_noted(redis)
        future.kill()
        await until(lambda: len(told(redis, alice)) == 4)
        assert told(redis, alice) == [f"online:{alice.pk}", f"offline:{alice.pk}"] * 2


def project(server):
    """Return the address of the test project's own consumer."""
    return server.ws.removesuffix("/ws") + "/project/"
