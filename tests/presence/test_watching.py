"""Following users: a snapshot first, then each change once."""

import os
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels.presence.stores.base import ToldStates
from tests.kit import Client, Proxy, until
from tests.presence.support import keys, open_all, sha_of, told


async def watch(client, *ids, verb="watch"):
    """Send a `watch`; return what comes until a pong."""
    await client.send({"type": verb, "users": list(ids)})
    return await client.settle()


def statuses(frames):
    """Return ``[(user, is_online), ...]`` of the presence messages."""
    return [(each["user"], each["is_online"]) for each in frames if each["type"] == "presence"]


def codes(frames):
    """Return the error codes in the messages."""
    return [each["code"] for each in frames if each["type"] == "error"]


@asynccontextmanager
async def watcher(server, user):
    """A client with a session that has seen its own `subscribed`."""
    async with Client(server.ws, user.ws_token()) as client:
        await client.subscribed()
        yield client


async def test_snapshot_then_every_change(pair, alice, bob, redis):
    """Offline and never seen, then online, then offline with the time, on another process."""
    async with watcher(pair[0], bob) as client:
        (snapshot,) = await watch(client, alice.pk)
        expected = {"type": "presence", "user": alice.pk, "is_online": False, "last_seen": None}
        assert snapshot == expected
        async with watcher(pair[1], alice), watcher(pair[0], alice):
            online = await client.receive_type("presence")
            assert (online["user"], online["is_online"]) == (alice.pk, True)
            (again,) = await watch(client, alice.pk)
            assert again["is_online"]
        offline = await client.receive_type("presence")
        assert not offline["is_online"]
        assert online["last_seen"] < offline["last_seen"]
        (snapshot,) = await watch(client, alice.pk)
        assert snapshot == offline
        assert await client.settle() == []


async def test_a_change_that_overtakes_the_snapshot_is_not_lost(start, alice, bob, pair, redis):
    """The answer to a watch tells the latest of what is known, once."""
    with Proxy(os.environ["REDIS_URL"]) as proxy:
        async with AsyncExitStack() as stack:
            slow = await start(BAZIS_WS_REDIS_URL=proxy.url)
            client, control = await open_all(stack, [(slow, bob), (slow, bob)])
            await watch(control, alice.pk)
            proxy.hold_answers_to(sha_of(ToldStates([])))
            await client.send({"type": "watch", "users": [alice.pk]})
            await until(lambda: proxy.is_holding)  # the snapshot is taken: offline
            async with watcher(pair[1], alice):
                assert (await control.receive_type("presence"))["is_online"]
                proxy.release()
                assert (await client.receive_type("presence"))["is_online"]
                assert await client.settle() == []
            assert not (await client.receive_type("presence"))["is_online"]
        await until(lambda: not keys(redis))


async def test_a_renewed_token_keeps_the_watches(pair, alice, bob, redis):
    """The same user goes on watching; another user starts with none."""
    async with watcher(pair[0], bob) as client:
        await watch(client, alice.pk)
        await client.send({"token": bob.ws_token()})
        await client.subscribed()
        async with watcher(pair[1], alice):
            assert (await client.receive_type("presence"))["is_online"]
            await client.send({"token": alice.ws_token()})
            await client.subscribed()
        await until(lambda: f"offline:{bob.pk}" in told(redis))
        assert statuses(await client.settle()) == []
        assert await channels_of(redis, "watch_ws") == []


async def channels_of(redis, name):
    """Return the pub/sub channels whose name holds `name`."""
    return redis.pubsub_channels(f"*{name}*")


async def test_unwatch(pair, alice, bob, redis):
    """Nothing comes any more; what isn't watched can be unwatched too."""
    async with watcher(pair[0], bob) as client:
        await watch(client, alice.pk)
        assert await watch(client, alice.pk, 424242, verb="unwatch") == []
        async with watcher(pair[1], alice):
            await until(lambda: told(redis, alice))
            assert await client.settle() == []
        assert await channels_of(redis, "watch_ws") == []


async def test_nothing_is_left_of_the_watches_of_a_closed_socket(pair, alice, bob, redis):
    """Its groups are gone from Redis with it."""
    async with watcher(pair[0], bob) as client:
        await watch(client, alice.pk, bob.pk)
        assert len(await channels_of(redis, "watch_ws")) == 2
    await until(lambda: redis.pubsub_channels("*watch_ws*") == [])


async def test_oneself_twice_and_nobody(pair, alice, redis):
    """Oneself may always be watched; naming a user twice answers once; nobody is nobody."""
    async with watcher(pair[0], alice) as client:
        assert statuses(await watch(client, alice.pk, str(alice.pk), alice.pk)) == [
            (alice.pk, True)
        ]
        assert await watch(client) == []


async def test_ids_that_do_not_exist(pair, alice, redis):
    """They are offline, and no more than that."""
    async with watcher(pair[0], alice) as client:
        ids = [10**9, -5, 0]
        assert statuses(await watch(client, *ids)) == [(each, False) for each in ids]
        assert statuses(await watch(client, "77", " 78 ")) == [(77, False), (78, False)]


BAD = [
    {"type": "watch"},
    {"type": "watch", "users": 5},
    {"type": "watch", "users": "5"},
    {"type": "watch", "users": {"5": 1}},
    {"type": "watch", "users": None},
    *(
        {"type": "watch", "users": [1, bad]}
        for bad in (None, True, 1.5, [], {}, "", "abc", "\ud800", 10**40)
    ),
    {"type": "unwatch", "users": ["abc"]},
    {"type": "unwatch"},
]


async def test_watches_of_the_wrong_type(pair, alice, redis):
    """Each is a `bad_message`, watches nobody, and leaves the socket open."""
    async with watcher(pair[0], alice) as client:
        for message in BAD:
            assert codes(await watch_raw(client, message)) == ["bad_message"], message
        assert await channels_of(redis, "watch_ws") == []


async def watch_raw(client, message):
    """Send any message; return what comes until a pong."""
    await client.send(message)
    return await client.settle()


async def test_a_watch_needs_a_session(pair, redis):
    """Without one it is refused, and the socket stays open."""
    async with Client(pair[0].ws) as client:
        assert codes(await watch(client, 1)) == ["not_authenticated"]


async def test_the_limit(pair, make_users, redis):
    """A thousand ids are refused altogether; up to the limit they may come in pieces."""
    (user,) = await make_users(1)
    async with watcher(pair[0], user) as client:
        assert codes(await watch(client, *range(1, 1001))) == ["forbidden"]
        assert await channels_of(redis, "watch_ws") == []
        assert len(statuses(await watch(client, *range(1000, 1150)))) == 150
        assert codes(await watch(client, *range(1150, 1201))) == ["forbidden"]
        assert len(statuses(await watch(client, *range(1000, 1200)))) == 200
        await watch(client, *range(1000, 1100), verb="unwatch")
        assert len(statuses(await watch(client, *range(2000, 2100)))) == 100


@pytest.mark.parametrize(("watches", "ids", "expected"), [("none", [2], []), ("even", [2, 3], [])])
async def test_what_the_project_does_not_allow(pair, make_users, redis, watches, ids, expected):
    """All of a watch or nothing of it; the error says how a project opens it."""
    (user,) = await make_users(1, watches=watches)
    async with watcher(pair[0], user) as client:
        (error,) = await watch(client, *ids)
        assert error["code"] == "forbidden"
        assert "ws_can_watch" in error["detail"]
        assert await channels_of(redis, "watch_ws") == []


async def test_what_the_project_allows_in_part(pair, make_users, redis):
    """A model may return the ids that it allows."""
    (user,) = await make_users(1, watches="even")
    async with watcher(pair[0], user) as client:
        assert statuses(await watch(client, 2000, 4000)) == [(2000, False), (4000, False)]


async def test_a_deleted_user(pair, alice, bob, redis):
    """Sessions end, watchers hear that the user is gone, and nothing is left."""
    pk = alice.pk
    async with watcher(pair[0], bob) as client, watcher(pair[1], alice) as gone:
        await watch(client, pk)
        await sync_to_async(alice.delete)()
        assert await gone.closed() == 4401
        assert await sync_to_async(lambda: (alice.is_online, alice.last_seen))() == (False, None)
        assert statuses([await client.receive_type("presence")]) == [(pk, False)]
    await until(lambda: f"offline:{pk}" in told(redis))
    await until(lambda: not keys(redis) - {f"user_ws.{pk}.revoked"})
    redis.delete(f"user_ws.{pk}.revoked")


async def test_many_watchers_of_one_user(pair, make_users, alice, redis):
    """Each gets one message a change, wherever it is connected."""
    users = await make_users(20)
    async with AsyncExitStack() as stack:
        clients = await open_all(stack, [(pair[n % 2], user) for n, user in enumerate(users)])
        for client in clients:
            assert statuses(await watch(client, alice.pk)) == [(alice.pk, False)]
        async with watcher(pair[0], alice):
            pass
        for client in clients:
            frames = [await client.receive_type("presence") for _ in range(2)]
            assert statuses(frames) == [(alice.pk, True), (alice.pk, False)]
            assert await client.settle() == []
