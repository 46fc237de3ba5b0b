"""The presence task: what it costs, and what it does when Redis fails in the middle."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from bazis_ws_channels import presence
from bazis_ws_channels.presence.stores.base import Restore
from tests.kit import Proxy, channel_layers, until
from tests.presence.support import (
    PERIOD,
    commands,
    keys,
    logged,
    open_all,
    sha_of,
    times_logged,
    told,
)


@pytest.mark.parametrize("connections", [2, 120])
async def test_an_idle_process_costs_the_same_whatever_it_serves(
    pair, make_users, redis, connections
):
    """At most 30 commands a minute with the default period, and none for a connection."""
    users = await make_users(10)
    async with AsyncExitStack() as stack:
        await open_all(stack, [(pair[n % 2], users[n % 10]) for n in range(connections)])
        await until(lambda: len(redis.keys("user_ws.lease.*")) == 2)
        periods, before, started_at = 8, commands(redis), time.monotonic()
        await until(lambda: time.monotonic() - started_at > periods * PERIOD)
        sent = commands(redis) - before
        assert periods <= sent <= 2 * (30 * 5 / 60) * periods + 2


async def test_it_ends_with_the_last_connection(pair, alice, redis):
    """A process without connections sends nothing and leaves nothing."""
    async with AsyncExitStack() as stack:
        await open_all(stack, [(pair[0], alice)])
    await until(lambda: not keys(redis))
    before, started_at = commands(redis), time.monotonic()
    await until(lambda: time.monotonic() - started_at > 3 * PERIOD)
    assert commands(redis) == before


async def test_many_who_find_the_lease_lost_register_once(pair, make_users, redis):
    """Clients that connect at the same time after a loss make one new process, not many."""
    users = await make_users(40)
    lost = logged(pair[0], "The presence lease was lost")
    async with AsyncExitStack() as stack:
        await open_all(stack, [(pair[0], users[0])])
        redis.flushall()
        await asyncio.gather(*(open_all(stack, [(pair[0], user)]) for user in users[1:]))
        await until(lambda: redis.scard("user_ws.online") == 40)
        assert redis.scard("user_ws.processes") == 1
        assert await presence.aonline_count() == 40
        await until(lambda: logged(pair[0], "The presence lease was lost") == lost + 1)


async def test_a_recovery_that_fails_half_way_is_finished(start, own_redis, make_users, settings):
    """Redis breaks down again while the connections are written: all come back in the end."""
    server = own_redis()
    settings.BAZIS_WS_REDIS_URL = server.url
    users = await make_users(10)
    with Proxy(server.url) as proxy:
        async with AsyncExitStack() as stack:
            process = await start(**server.settings, BAZIS_WS_REDIS_URL=proxy.url)
            await open_all(stack, [(process, user) for user in users])
            proxy.cut_at(sha_of(Restore("p", "q", [])))
            server.client.flushall()
            await until(lambda: proxy.cuts >= 2)
            assert await presence.aonline_count() == 0
            proxy.cut_at(None)
            await until(lambda: server.client.scard("user_ws.online") == len(users))
            assert await presence.aonline_users() == {user.pk for user in users}
            assert server.client.scard("user_ws.processes") == 1
        await until(lambda: not keys(server.client))


async def test_who_leaves_while_redis_is_away_is_told_offline(
    start, own_redis, alice, bob, redis, settings
):
    """Also where Redis has forgotten that they were there; who stays is not."""
    server = own_redis()
    settings.BAZIS_WS_REDIS_URL = server.url
    process = await start(**server.settings)
    async with AsyncExitStack() as stack:
        leaving, _ = await open_all(stack, [(process, alice), (process, bob)])
        await until(lambda: len(told(redis)) == 2)
        server.kill()
        await leaving.socket.close()
        await until(lambda: logged(process, "The presence store failed"))
        server.start()
        await until(lambda: f"offline:{alice.pk}" in told(redis))
        assert await presence.aonline_users() == {bob.pk}
        assert told(redis, bob) == [f"online:{bob.pk}"]
    await until(lambda: not keys(server.client))


async def test_a_redis_that_is_gone_is_asked_at_a_measured_pace(
    start, own_redis, alice, bob, settings
):
    """No busy loop, one line in the log, and the users are back when it is."""
    server = own_redis()
    settings.BAZIS_WS_REDIS_URL = server.url
    with Proxy(server.url) as proxy:  # it takes connections, and drops them
        async with AsyncExitStack() as stack:
            layers = channel_layers(proxy.url)
            processes = await asyncio.gather(*(start(CHANNEL_LAYERS=layers) for _ in range(2)))
            await open_all(stack, [(processes[0], alice), (processes[1], bob)])
            server.kill()
            killed_at = proxy.accepted
            await until(lambda: proxy.accepted > killed_at + 3)
            periods, before, started_at = 5, proxy.accepted, time.monotonic()
            await until(lambda: time.monotonic() - started_at > periods * PERIOD)
            assert proxy.accepted - before < 2 * periods * 20
            server.start()
            await until(lambda: server.client.scard("user_ws.online") == 2)
            await until(lambda: times_logged(processes, "The presence store is back") == [1, 1])
            assert times_logged(processes, "The presence store failed") == [1, 1]
        await until(lambda: not keys(server.client))
