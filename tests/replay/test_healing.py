"""Redis goes away under live sessions: what they missed arrives, or they are told."""

import asyncio
import contextlib
import itertools

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import publishing
from bazis_ws_channels.exceptions import PublishError
from bazis_ws_channels.history import follower
from tests.kit import Client, Proxy, until
from tests.replay.dropping import Load, wandering
from tests.replay.support import Socket


@pytest.fixture
def users(make_user):
    """Some users."""
    return [make_user(f"user{n}") for n in range(10)]


@pytest.fixture
async def site(daphne, own_redis, settings):
    """Two processes on a Redis of their own, behind a proxy: ``await site(**config)``."""
    with contextlib.ExitStack() as stack:

        async def start(**config):
            server = own_redis(**config)
            proxy = stack.enter_context(Proxy(server.url))
            settings.CHANNEL_LAYERS = server.channel_layers
            layers = {"default": {**server.channel_layers["default"]}}
            layers["default"]["CONFIG"] = {"hosts": [proxy.url]}
            launch = sync_to_async(daphne, thread_sensitive=False)
            return server, proxy, [await launch(CHANNEL_LAYERS=layers) for _ in range(2)]

        yield start


def listening(users, servers):
    """Start two clients for each user, one on each process."""
    return wandering(itertools.product(users, servers))


async def check(load, clients):
    """Wait until all have all; no socket was closed."""
    await load.check(clients)
    assert not any(client.recovered for client in clients)


async def test_subscriptions_that_are_cut_under_load(site, users):
    """`CLIENT KILL TYPE pubsub`, five times: no socket is closed, everything arrives in order."""
    server, _, servers = await site()
    async with listening(users, servers) as clients:
        load = Load(users, 50)
        running = asyncio.create_task(load.run(3))
        for cut in range(1, 6):
            await until(lambda cut=cut: len(load.published[None]) >= 12 * cut)
            await until(lambda: len(server.client.client_list(_type="pubsub")) >= 2)
            killed = await asyncio.to_thread(server.client.client_kill_filter, _type="pubsub")
            assert killed >= 2
        await running
        await check(load, clients)


async def test_redis_restarts_with_its_data(site, users):
    """With an append-only file: the same."""
    server, _, servers = await site(appendonly="yes", appendfsync="always")
    async with listening(users, servers) as clients:
        load = Load(users, 50)
        running = asyncio.create_task(load.run(4))
        await until(lambda: len(load.published[None]) >= 25)
        await asyncio.to_thread(server.kill)
        await until(lambda: not all(worked for _, worked in load.published[None]))
        await asyncio.to_thread(server.start)
        await running
        await check(load, clients)
        assert sum(worked for _, worked in load.published[None]) > 50


async def test_redis_restarts_without_its_data(site, users):
    """Each client is told once, whether its socket is open or comes back; then all is well."""
    server, _, servers = await site()
    async with listening(users, servers) as clients:
        load = Load(users, 50)
        await load.run(0.2)
        await check(load, clients)
        away = Client(servers[0].ws)
        async with away:
            await away.send({"token": users[0].ws_token()})
            position = (await away.subscribed())["position"]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await until(lambda: all(client.missed for client in clients))
        async with Client(servers[0].ws) as back:
            await back.send({"token": users[0].ws_token(), "since": position})
            assert (await back.subscribed())["recovered"] is False
        after = Load(users, 50)
        for client in clients:
            client.got = {"user": [], "common": []}
        await after.run(0.5)
        await until(lambda: after.is_complete(clients))
        assert {client.missed for client in clients} == {1}
        assert not any(client.recovered for client in clients)


async def test_a_history_that_went_back_and_caught_up(site, alice):
    """As after a failover to a replica without the tail: the offsets fit, the messages don't."""
    server, proxy, servers = await site()
    async with Client(servers[0].ws, alice.ws_token()) as client:
        start = (await client.subscribed())["position"]
        for n in range(5):
            await publishing.apublish([alice], n)
        await asyncio.to_thread(server.client.save)
        for n in ("lost", "lost too"):
            await publishing.apublish([alice], n)
        for _ in range(7):
            last = await client.receive_type("data")
        old = {**start, **last["position"]}
        proxy.refuse()
        proxy.cut()  # the process doesn't see what follows
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for n in range(4):
            await until(lambda n=n: published([alice], f"new {n}"))
        proxy.accept()
        missed = await client.receive_type("missed")
        offset = int(missed["position"]["user"].partition(".")[0])
        assert offset == 5 + 4 > int(old["user"].partition(".")[0])
        await publishing.apublish([alice], "after")
        assert await client.data() == "after"
        assert [m for m in await client.settle() if m["type"] == "missed"] == []
    async with Client(servers[1].ws) as back:
        await back.send({"token": alice.ws_token(), "since": old})
        assert (await back.subscribed())["recovered"] is False
        assert await back.settle() == []
    async with Client(servers[1].ws) as back:
        before = {**old, **missed["position"]}
        await back.send({"token": alice.ws_token(), "since": before})
        assert (await back.subscribed())["replayed"] == 1
        assert await back.data() == "after"


async def published(users, value):
    """Publish; False where Redis is not yet back."""
    try:
        await publishing.apublish(users, value)
    except PublishError:
        return False
    return True


async def test_more_was_missed_than_is_kept(site, alice, settings):
    """`missed`, once, with the position from which things go on."""
    settings.BAZIS_WS_HISTORY_MESSAGES = 3  # of the publisher, which trims
    _, proxy, servers = await site()
    async with Client(servers[0].ws, alice.ws_token()) as client:
        await client.subscribed()
        proxy.refuse()
        proxy.cut()
        for n in range(4):
            await publishing.apublish([alice], n)
        proxy.accept()
        missed = await client.receive_type("missed")
        assert set(missed["position"]) == {"user"}
        await publishing.apublish([alice], "after")
        assert await client.data() == "after"
        assert missed["position"]["user"].startswith("4.")


async def test_the_order_is_one(daphne, users):
    """Two publishers at the same time, 20,000 messages: all recipients get the same order."""
    start = sync_to_async(daphne, thread_sensitive=False)
    servers = [await start(BAZIS_WS_SEND_BUFFER_BYTES=10**8) for _ in range(2)]
    async with listening(users[:2], servers) as clients:

        def publish(name):
            for n in range(10_000):
                publishing.broadcast(f"{name}{n}")

        await asyncio.gather(*(asyncio.to_thread(publish, name) for name in "ab"))
        await until(lambda: all(len(client.got["common"]) == 20_000 for client in clients), 60)
        first, *others = (client.got["common"] for client in clients)
        assert all(other == first for other in others)
        assert {name: [v for v in first if v[0] == name] for name in "ab"} == {
            name: [f"{name}{n}" for n in range(10_000)] for name in "ab"
        }
        assert not any(client.missed or client.recovered for client in clients)


async def test_a_stream_that_redis_has_lost_without_a_word(site, alice, monkeypatch):
    """`FLUSHALL`, or an eviction: no link breaks. What begins anew has numbers that are old news to
    whoever has heard nothing live since it began.
    """
    monkeypatch.setattr(follower, "_LATE_SECONDS", 0)
    server, _, servers = await site()
    async with Client(servers[0].ws, alice.ws_token()) as first:
        await first.subscribed()
        for n in range(3):
            await publishing.apublish([alice], n)
        async with Socket(alice.ws_token()) as quiet:  # in this process, which has heard nothing
            began = (await quiet.receive())["position"]["user"]
            assert began.startswith("3.")
            await asyncio.to_thread(server.client.flushall)
            async with Client(servers[1].ws, alice.ws_token()) as third:
                await third.subscribed()
                await publishing.apublish([alice], "new")
                assert (await quiet.receive())["type"] == "missed"
                await publishing.apublish([alice], "after")
                assert (await quiet.receive())["data"] == "after"
