"""A Redis Cluster: three real nodes; channels that are sharded (Redis 7), and forwarded (6.2)."""

import asyncio
import contextlib
import json
import os
import re

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from redis.cluster import key_slot

from bazis_ws_channels import auth, presence
from bazis_ws_channels.exceptions import PresenceUnavailable, PublishError
from bazis_ws_channels.groups import user_group
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Fleet
from bazis_ws_channels.publishing import abroadcast, apublish, broadcast, notify, publish
from tests.kit import ROOT, Client, fetch, manage, until, wait_until
from tests.kit.cluster import Cluster
from tests.kit.redis_binary import binaries
from tests.redis.test_loops import by_async_to_sync, by_run
from tests.redis.test_variants import certified, documented, live
from tests.replay.dropping import Load
from tests.replay.support import Socket
from tests.replay.test_healing import check, listening

PRESENCE = "{user_ws}"


@pytest.fixture(scope="module")
def nodes():
    """The servers, which the tests share."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=[True, False], ids=["sharded", "forwarded"])
def cluster(request, nodes, use):
    """The same, empty, used by this process with one kind of pub/sub or the other."""
    for node in nodes.nodes:
        node.client.flushall()
    nodes.options = {"sharded": request.param}
    use(nodes.host)
    return nodes


def channel_of(user):
    """Return the Redis channel of a user."""
    return f"asgi__group__{user_group(user.pk)}"


@pytest.fixture
def users(cluster, make_user):
    """Users whose channels are on different nodes: one on each, as they come."""
    found = {}
    for number in range(100):
        user = make_user(f"user{number}")
        found.setdefault(cluster.owner_of(channel_of(user)).port, user)
        if len(found) == len(cluster.nodes):
            return list(found.values())
    raise AssertionError("all channels are on one node")


async def test_a_whole_life(cluster, daphne, use, alice, bob):
    """Sign in, watch, publish both ways, log out, leave."""
    await live(daphne, use, cluster.host, (alice, bob))


@pytest.mark.places
@pytest.mark.parametrize("name", binaries())
async def test_versions(daphne, use, alice, bob, name):
    """Those that this machine has; channels are sharded since Redis 7."""
    is_sharded = not name.startswith("Redis 6")
    with Cluster(path=binaries()[name], sharded=is_sharded) as cluster:
        use(cluster.host)
        assert found() == {}
        await live(daphne, use, cluster.host, (alice, bob))
        use({**cluster.host, "sharded": True})
        assert set(found()) == (set() if is_sharded else {"E045"})


@pytest.mark.places
async def test_tls(daphne, use, alice, bob, tmp_path):
    """With the nodes' certificate checked."""
    options = {"ssl": True, "ssl_ca_certs": str(tmp_path / "cert.pem")}
    with Cluster(path=certified(tmp_path), tls=tmp_path, **options) as cluster:
        use(cluster.host)
        assert found() == {}
        await live(daphne, use, cluster.host, (alice, bob))


async def test_users_of_all_nodes(cluster, users):
    """Whatever is published arrives, once, and is counted; who was away gets it too."""
    async with Socket(users[0].ws_token()) as first, Socket(users[1].ws_token()) as second:
        async with Socket(users[2].ws_token()) as third:
            for socket in (first, second, third):
                await socket.subscribed()
            assert await apublish(users, "async") == 3
            assert await sync_to_async(publish)(users, "sync") == 3
            assert await sync_to_async(notify)(users, lambda user: user.username) == 3
            await abroadcast("to all")
            await sync_to_async(broadcast)("to all, sync")
            for user, socket in zip(users, (first, second, third), strict=True):
                got = {"user": [], "common": []}  # between the two no order is promised
                for message in [await socket.data() for _ in range(5)]:
                    got[next(iter(message["position"]))].append(message["data"])
                assert got["user"] == ["async", "sync", user.username]
                assert got["common"] == ["to all", "to all, sync"]
                assert await socket.settle() == []
            since = third.position
        assert await sync_to_async(presence.online)(users) >= {user.pk for user in users[:2]}
        await apublish(users, "away")
        for _ in range(2):
            await apublish(users, "once", idempotency_key="order-42")
            await sync_to_async(publish)(users, "twin", idempotency_key="order-43")
        async with Socket(users[2].ws_token(), since) as third:
            message = await third.subscribed()
            assert (message["recovered"], message["replayed"]) == (True, 3)
            assert await third.several(3) == ["away", "once", "twin"]
        assert await first.several(3) == ["away", "once", "twin"]


async def test_keys_and_channels_are_where_they_belong(cluster, users):
    """Presence in one slot, history and channels by user; nobody is subscribed twice."""
    async with Socket(users[0].ws_token()) as first, Socket(users[1].ws_token()) as second:
        for socket in (first, second):
            await socket.subscribed()
        await apublish(users[:2], "x")
        for node in cluster.nodes:
            names = node.client.keys("*")
            assert not [name for name in names if cluster.owner_of(name) is not node]
        home = cluster.owner_of(PRESENCE)
        assert home.client.hlen(f"{PRESENCE}.{users[0].pk}.session") == 1
        kind = "SHARDCHANNELS" if cluster.options["sharded"] else "CHANNELS"
        for user in users[:2]:
            channel = channel_of(user)
            having = [
                node
                for node in cluster.nodes
                if channel in node.client.execute_command(f"PUBSUB {kind}")
            ]
            assert len(having) == 1
            if cluster.options["sharded"]:
                assert having == [cluster.owner_of(channel)]
    await until(lambda: not any("group" in name for name in subscribed(cluster, kind)))


def subscribed(cluster, kind):
    """Return the channels that somebody has subscribed to at a node."""
    answers = (node.client.execute_command(f"PUBSUB {kind}") for node in cluster.nodes)
    return [channel for channels in answers for channel in channels]


@pytest.mark.parametrize("run", [by_run, by_async_to_sync])
def test_a_loop_leaves_no_connection(cluster, run):
    """Neither for commands nor for subscriptions, to no node."""
    before = [set(node.clients()) for node in cluster.nodes]  # of sync code, and of other tests
    for _ in range(10):
        run()
        wait_until(
            lambda: all(
                set(node.clients()) <= known
                for node, known in zip(cluster.nodes, before, strict=True)
            )
        )


def test_after_a_fork_the_child_publishes(cluster, users):
    """Over connections of its own."""
    assert publish(users, "parent") == 0
    child = os.fork()
    if not child:
        status = 1
        try:
            status = publish(users, "child")  # 0: nobody is connected
        finally:
            os._exit(status)
    assert publish(users, "parent") == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_operators_see_all_nodes(cluster, users, daphne):
    """`ws_status` counts the streams of all; the health view asks all."""
    server = await sync_to_async(daphne)(ROOT_URLCONF="tests.operating.urls", **cluster.settings)
    async with Client(server.ws, users[0].ws_token()) as first:
        await first.subscribed()
        for user in users[1:]:
            await user.ws_aposition()
        await apublish(users, "x")
        await auth.arevoke_token(users[1].ws_token())
        await users[2].ws_adisconnect()
        text = await asyncio.to_thread(manage, "ws_status", "--json", **cluster.settings)
        status = json.loads(text)
        assert status["users_online"] == 1
        assert status["history"]["streams"] == 3
        assert status["revoked"] == {"users": 1, "tokens": 1, "is_complete": True}
        answer = json.loads(await asyncio.to_thread(fetch, f"{server.http}/health"))
        assert answer["status"] == "ok"
        assert answer["subscriptions"] is True


async def test_a_slot_moves_with_its_stream(cluster, users):
    """While it moves (ASK, TRYAGAIN) and when it has moved (MOVED): nothing is lost or twice."""
    user = users[0]
    channel = channel_of(user)
    slot, source = key_slot(channel.encode()), cluster.owner_of(channel)
    target = next(node for node in cluster.nodes if node is not source)
    async with Socket(user.ws_token()) as socket:
        start = (await socket.subscribed())["position"]
        assert await apublish([user], "before") == 1
        cluster.begin_to_move(slot, source, target)
        assert await sync_to_async(publish)([user], "all keys are here") == 1
        cluster.move_keys(slot, source, target)
        assert await apublish([user], "all keys are there: ASK") == 1
        assert await sync_to_async(publish)([user], "ASK, sync") == 1
        cluster.end_to_move(slot, source, target)
        assert await apublish([user], "MOVED") == 1
        assert await sync_to_async(publish)([user], "MOVED, sync") == 1
        values = ["before", "all keys are here", "all keys are there: ASK", "ASK, sync"]
        values += ["MOVED", "MOVED, sync"]
        assert await socket.several(6) == values
        assert await socket.settle() == []
    async with Socket(user.ws_token(), start) as socket:
        assert (await socket.subscribed())["replayed"] == 6
        assert await socket.several(6) == values


@pytest.mark.parametrize("cluster", [True], ids=["sharded"], indirect=True)
async def test_a_node_is_left_while_its_messages_wait(cluster, users):
    """Those that it has sent are handed out, and before those of the new one."""
    async with contextlib.AsyncExitStack() as stack:
        sockets = {user: await stack.enter_async_context(Socket(user.ws_token())) for user in users}
        for socket in sockets.values():
            await socket.subscribed()
        part = get_channel_layer()._parts.get()
        (subscriber,) = part._subscribers.values()
        user = next(each for each in users if len(_neighbours(subscriber, channel_of(each))) == 1)
        channel, socket = channel_of(user), sockets[user]
        listener = subscriber._listener_of(channel)
        source = cluster.owner_of(channel)
        target = next(node for node in cluster.nodes if node is not source)
        async with part.healer.followers[channel].lock:
            for number in range(4):
                await apublish([user], number, record=number % 2 == 0)
            await until(lambda: part.healer.followers[channel].last.offset == 1)
            cluster.move_slot(channel, target)
            await until(lambda: listener not in subscriber._listeners.values())
            await until(lambda: subscriber.is_confirmed)
            await apublish([user], 4, record=False)
            await apublish([user], 5)
        values = await socket.several(6)
        assert values[0] == 0
        assert sorted(values) == list(range(6))
        assert [each for each in values if each in (1, 3, 4)] == [1, 3, 4]
        assert [each for each in values if each in (0, 2, 5)] == [0, 2, 5]
        assert "missed" not in {message["type"] for message in socket.seen}


def _neighbours(subscriber, channel):
    """Return the channels that are subscribed at the node of one."""
    return subscriber._channels_at(subscriber._listener_of(channel))


async def test_who_comes_after_a_slot_has_moved(cluster, users):
    """The node that this process knows refuses the subscription: MOVED."""
    user = users[0]
    await sync_to_async(publish)(users, "the map is known")
    source = cluster.owner_of(channel_of(user))
    target = next(node for node in cluster.nodes if node is not source)
    cluster.move_slot(channel_of(user), target)
    async with Socket(user.ws_token()) as socket:
        await socket.subscribed()
        assert await apublish([user], "x") == 1
        assert await apublish([user], "y", record=False) == 1
        assert await socket.several(2) == ["x", "y"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_while_only_some_keys_have_moved_who_publishes_waits(cluster, users, kind):
    """TRYAGAIN: a stream that has no message yet has one key of two."""
    user = users[0]
    channel = channel_of(user)
    slot, source = key_slot(channel.encode()), cluster.owner_of(channel)
    target = next(node for node in cluster.nodes if node is not source)
    target.client.config_resetstat()
    async with Socket(user.ws_token()) as socket:
        await socket.subscribed()
        cluster.begin_to_move(slot, source, target)
        cluster.move_keys(slot, source, target)
        send = user.ws_apublish("x") if kind == "async" else asyncio.to_thread(publish, [user], "x")
        publishing = asyncio.ensure_future(send)
        await until(lambda: "errorstat_TRYAGAIN" in target.client.info("errorstats"))
        assert not publishing.done()
        cluster.end_to_move(slot, source, target)
        assert await publishing == 1
        assert await socket.several(1) == ["x"]


async def test_the_slot_of_presence_moves(cluster, users):
    """Sessions go on, and so do their ends."""
    source = cluster.owner_of(PRESENCE)
    target = next(node for node in cluster.nodes if node is not source)
    async with Socket(users[0].ws_token()) as socket:
        await socket.subscribed()
        cluster.move_slot(PRESENCE, target)
        assert await users[0].ws_apublish("x") == 1
        assert await sync_to_async(lambda: users[0].is_online)()
        assert await sync_to_async(users[0].ws_publish)("y") == 1
    await until(sync_to_async(lambda: not users[0].is_online))
    cluster.move_slot(PRESENCE, source)


async def test_slots_move_under_load(cluster, daphne, users):
    """Back and forth, with two processes and a publisher: all get all, in order, nobody is told
    of a gap.
    """
    launch = sync_to_async(daphne, thread_sensitive=False)
    servers = [await launch(**cluster.settings) for _ in range(2)]
    channels = [*map(channel_of, users), "asgi__group__common", PRESENCE]
    async with listening(users, servers) as clients:
        load = Load(users, 50)
        running = asyncio.create_task(load.run(3))
        for channel in channels:
            source = cluster.owner_of(channel)
            target = next(node for node in cluster.nodes if node is not source)
            await asyncio.to_thread(cluster.move_slot, channel, target)
            enough = load.rounds + 15
            await until(lambda enough=enough: load.rounds >= enough or running.done())
        await running
        await check(load, clients)
        assert all(worked for each in load.published.values() for _, worked in each)
    assert sum(server.tracebacks for server in servers) == 0


# --- what is named in the wrong way -----------------------------------------------------------


def test_a_node_that_is_named_as_a_single_server(nodes, use):
    """Said by name, whichever is asked."""
    for node in nodes.nodes:
        use(node.url)
        with pytest.raises(PresenceUnavailable, match=r"Redis is a Cluster.*E043"):
            get_store().ask(Fleet([str(number) for number in range(10)]))


async def test_a_server_process_on_such_a_node_says_so(nodes, daphne, alice):
    """4500 at the client, the reason in the log, no traceback."""
    server = await sync_to_async(daphne)(**nodes.nodes[0].settings)
    async with Client(server.ws, alice.ws_token()) as client:
        assert await client.closed() == 4500
    assert "Redis is a Cluster" in server.log
    assert server.tracebacks == 0


def found():
    """Return what `check --deploy` says of Clusters, as {id: message}."""
    messages = run_checks(include_deployment_checks=True)
    found = {message.id.removeprefix("bazis_ws."): message for message in messages}
    return {name: found[name] for name in found if name[:3] == "E04"}


def test_the_check_finds_a_node_that_is_named_as_a_single_server(nodes, use, valkey, settings):
    """Names the setting, and what to write there; a single server is fine, one that is away passed
    over.
    """
    use(nodes.nodes[0].url)
    assert set(found()) == {"E043"}
    assert "CHANNEL_LAYERS" in found()["E043"].msg
    assert '[{"cluster": [("HOST", PORT), ...]}]' in found()["E043"].hint
    call_command("check")  # which asks nobody
    for server in (valkey.url, "redis://127.0.0.1:1"):
        use(server)
        assert found() == {}
    settings.BAZIS_WS_REDIS_URL = nodes.nodes[0].url
    assert "BAZIS_WS_REDIS_URL" in found()["E043"].msg


def test_the_check_finds_a_single_server_that_is_named_as_a_cluster(nodes, use, valkey):
    """A Cluster is fine, one that is away passed over."""
    for ports, ids in (
        ([node.port for node in nodes.nodes], set()),
        ([nodes.nodes[0].port, 1], set()),
        ([valkey.port], {"E044"}),
    ):
        use({"cluster": [("127.0.0.1", port) for port in ports]})
        assert set(found()) == ids


def test_the_check_finds_nodes_that_evict(nodes, use):
    """As with a single server."""
    use(nodes.host)
    node = nodes.nodes[1].client
    node.config_set("maxmemory-policy", "allkeys-lru")
    assert found() == {}
    node.config_set("maxmemory", "100mb")
    messages = {message.id for message in run_checks(include_deployment_checks=True)}
    node.config_set("maxmemory", "0")
    assert "bazis_ws.W041" in messages


def test_the_check_finds_braces_in_a_prefix(nodes, use, settings):
    """Which would be the hash tag."""
    use(nodes.host, prefix="{site}")
    assert set(found()) == {"E046"}
    use(nodes.host)
    assert found() == {}
    settings.BAZIS_WS_KEY_PREFIX = "{site}."
    assert set(found()) == {"E046"}
    use("redis://127.0.0.1:1")
    assert found() == {}


def test_a_cluster_is_the_only_host(nodes, settings):
    """It has shards itself."""
    layer = dict(nodes.settings["CHANNEL_LAYERS"]["default"])
    layer["CONFIG"] = {"hosts": [nodes.host, "redis://127.0.0.1:1"]}
    settings.CHANNEL_LAYERS = {"default": layer}
    with pytest.raises(ImproperlyConfigured, match="must be the only host"):
        get_channel_layer()


def test_a_cluster_that_is_away(use, alice):
    """Is said to be."""
    use({"cluster": [("127.0.0.1", 1), ("127.0.0.1", 2)]})
    with pytest.raises(PresenceUnavailable, match=r"out of reach.*no node of cluster:127.0.0.1:1"):
        alice.ws_disconnect()
    with pytest.raises(PresenceUnavailable, match=r"out of reach.*no node of cluster:127.0.0.1:1"):
        async_to_sync(alice.ws_adisconnect)()
    with pytest.raises(PublishError, match="out of reach"):
        publish([alice], "x")


# --- rights ------------------------------------------------------------------------------------


async def test_a_user_with_the_documented_rights(cluster, daphne, use, alice, bob):
    """Lives a whole life."""
    for node in cluster.nodes:
        node.client.execute_command("ACL", "SETUSER", "app", *documented())
        node.client.execute_command("ACL", "SETUSER", "app", *documented_of_cluster())
    await live(daphne, use, {**cluster.host, "username": "app", "password": "secret"}, (alice, bob))


def documented_of_cluster():
    """Return what docs/deployment.md adds for a Cluster."""
    text = (ROOT / "docs" / "deployment.md").read_text()
    return re.search(r"^ACL SETUSER app (.*\+ssubscribe.*)$", text, re.MULTILINE)[1].split()
