"""A node of a Redis Cluster dies, or changes roles with its replica: all is back by itself."""

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async

from tests.kit import Client, until
from tests.kit.cluster import NODE_TIMEOUT, Cluster
from tests.redis.test_cluster import PRESENCE, channel_of
from tests.redis.test_sentinel import flows_to, flows_to_nobody, signs_in
from tests.replay.dropping import Load
from tests.replay.test_healing import listening

pytestmark = pytest.mark.places

#: What is left after the Cluster's own fail-over; a busy machine is slow.
LIMIT_SECONDS = 10


@pytest.fixture(params=[True, False], ids=["sharded", "forwarded"])
def cluster(request, use):
    """Three primaries, each with a replica, which this process uses."""
    with Cluster(replicas=1, sharded=request.param) as cluster:
        use(cluster.host)
        yield cluster


def kill(cluster, node):
    """Its port refuses connections."""
    node.kill()


def freeze(cluster, node):
    """Its port takes connections, and is silent."""
    node.pause()


def swap(cluster, node):
    """As planned: the old primary lives on as a replica."""
    cluster.replica_of(node).client.execute_command("CLUSTER FAILOVER")


@pytest.mark.parametrize("of", ["channel", "presence"])
@pytest.mark.parametrize("fail", [swap, kill, freeze])
async def test_all_is_back_by_itself(cluster, daphne, alice, bob, fail, of):
    """Messages, sign-ins, presence: of processes that were there, and of one that is new."""
    launch = sync_to_async(daphne, thread_sensitive=False)
    server = await launch(**cluster.settings)
    sync_publish = sync_to_async(alice.ws_publish, thread_sensitive=False)
    key = channel_of(alice) if of == "channel" else PRESENCE
    node = cluster.owner_of(key)
    replica = cluster.replica_of(node)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        assert await alice.ws_apublish("before") == 1
        assert await sync_publish("before") == 1
        await client.settle()
        await asyncio.to_thread(fail, cluster, node)
        started_at = time.monotonic()

        async def its_own():
            await until(lambda: replica.client.info("replication")["role"] == "master", 60)
            return time.monotonic() - started_at

        own, by_async, by_sync = await asyncio.gather(
            its_own(), flows_to(client, alice.ws_apublish, "x"), flows_to_nobody(sync_publish)
        )
        if fail is not swap:
            own = max(own, NODE_TIMEOUT / 1000)
        print(
            f"FIGURES {fail.__name__} {of} {cluster.options}: the Cluster {own:.1f} s,"
            f" async {by_async:.1f} s, sync {by_sync:.1f} s"
        )
        assert max(by_async, by_sync) < own + LIMIT_SECONDS
        fresh = await launch(**cluster.settings)
        for process in (server, fresh):
            started_at = time.monotonic()
            await until(lambda process=process: signs_in(process, bob))
            print(f"FIGURES sign-in at {process!r} {time.monotonic() - started_at:.1f} s")
        assert await until(sync_to_async(lambda: alice.is_online))
        assert client.socket.close_code is None
    assert server.tracebacks == 0


@pytest.mark.parametrize("name", ["sync", "async"])
async def test_who_publishes_at_once_meets_the_new_primary(cluster, alice, monkeypatch, name):
    """At the first try, though the map still names the node that was killed: it has refused."""
    monkeypatch.setattr("bazis_ws_channels.redis.cluster._LOOK_SECONDS", 3600)
    publish = sync_to_async(alice.ws_publish) if name == "sync" else alice.ws_apublish
    channel = channel_of(alice)
    node = cluster.owner_of(channel)
    replica = cluster.replica_of(node)
    assert await publish("warm") == 0
    kill(cluster, node)
    await until(lambda: cluster.owner_of(channel) is replica, 60)
    assert await publish("first") == 0


@pytest.mark.parametrize("fail", [swap, kill, freeze])
async def test_who_publishes_after_a_while_meets_the_new_primary(
    cluster, daphne, alice, monkeypatch, fail
):
    """At the first try: a map that was not looked at for some seconds is read before it is used."""
    node = cluster.owner_of(channel_of(alice))
    replica = cluster.replica_of(node)
    assert await alice.ws_apublish("warm") == 0
    assert await sync_to_async(alice.ws_publish)("warm") == 0
    await asyncio.to_thread(fail, cluster, node)
    await until(lambda: replica.client.info("replication")["role"] == "master", 60)
    server = await asyncio.to_thread(lambda: daphne(**cluster.settings))
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        monkeypatch.setattr("bazis_ws_channels.redis.cluster._LOOK_SECONDS", 0)
        assert await sync_to_async(alice.ws_publish)("sync") == 1
        assert await alice.ws_apublish("async") == 1
        assert [await client.data() for _ in range(2)] == ["sync", "async"]


@pytest.mark.parametrize("fail", [swap, kill])
async def test_under_load_all_arrives_or_is_told_as_missed(cluster, daphne, make_user, fail):
    """Who was told of nothing has everything, in order; each is told at most once."""
    launch = sync_to_async(daphne, thread_sensitive=False)
    servers = [await launch(**cluster.settings) for _ in range(2)]
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(6)]
    async with listening(users, servers) as clients:
        load = Load(users, 20)
        running = asyncio.create_task(load.run(8))
        await until(lambda: load.rounds >= 20)
        node = cluster.owner_of(channel_of(users[0]))
        await asyncio.to_thread(fail, cluster, node)
        await running
        after = Load(users, 20)
        told = [client for client in clients if client.missed or not all(client.recovered)]
        print(f"FIGURES {fail.__name__}: {len(told)} of {len(clients)} told")
        untold = [client for client in clients if client not in told]
        await until(lambda: load.is_complete(untold))
        for client in clients:
            client.got = {"user": [], "common": []}
        await after.run(0.5)
        await until(lambda: after.is_complete(clients))
        assert max(client.missed for client in clients) <= 1
