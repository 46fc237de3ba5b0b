"""Sessions without a user, against real servers: what they get, and what they can't do."""

import asyncio
import contextlib
import json
import secrets
import signal
import time
from collections import Counter

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence, publishing
from bazis_ws_channels.consumers import UserWsConsumer
from bazis_ws_channels.groups import anonymous_group, anonymous_key
from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.testing import WsClient
from tests.kit import Client, RawSocket, until
from tests.sessions.forging import sign
from tests.sessions.test_handshake import WAYS, brought, session_cookie

ON = {"BAZIS_WS_ANONYMOUS": True, "BAZIS_WS_OFFLINE_GRACE_SECONDS": 0.2}
COMMON = {**ON, "BAZIS_WS_ANONYMOUS_COMMON": True}
BY_ADDRESS, IN_ALL = 5, 8
#: 10,000 of them were tried; these take a few seconds.
ATTEMPTS = 1_000
NARROW = {
    **ON,
    "BAZIS_WS_MAX_ANONYMOUS": IN_ALL,
    "BAZIS_WS_MAX_ANONYMOUS_BY_ADDRESS": BY_ADDRESS,
    "BAZIS_WS_CLIENT_ADDRESS_HEADER": "X-Forwarded-For",
    "BAZIS_WS_AUTH_TIMEOUT": 60,
}


@pytest.fixture(scope="module")
def on(servers):
    """A server with anonymous sessions."""
    return servers(**ON)


@pytest.fixture(scope="module")
def common(servers):
    """One whose anonymous sessions get what is broadcast."""
    return servers(**COMMON)


@pytest.fixture(scope="module")
def narrow(servers):
    """One with small limits, which believes a proxy's header."""
    return servers(**NARROW)


def make_token():
    """Return a token as a client makes it."""
    return secrets.token_urlsafe(24)


def at(address, token=None):
    """Return the options of a client at an address, behind the proxy."""
    options = {"additional_headers": {"X-Forwarded-For": f"198.51.100.9, {address}"}}
    return options if token is None else {**options, "subprotocols": ["bazis-ws", token]}


# --- getting in -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*WAYS, "message"])
async def test_every_way_to_bring_the_token(on, way):
    """As with a JWT; what is published to the token arrives, and nobody else's."""
    token, other = make_token(), make_token()
    options = {} if way == "message" else brought(token, way)
    async with Client(on.ws, **options) as client, Client(on.ws, other) as stranger:
        if way == "message":
            assert await client.settle() == []
            await client.send({"token": token})
        subscribed = await client.subscribed()
        assert (subscribed["user"], subscribed["expires_in"]) == (None, None)
        assert (subscribed["position"], subscribed["recovered"]) == (None, None)
        await stranger.subscribed()
        await publishing.apublish_anonymous(token, {"step": 1})
        await sync_to_async(publishing.publish_anonymous)(token, {"step": 2})
        await publishing.abroadcast("for users")
        assert await client.data() == {"step": 1}
        assert await client.data() == {"step": 2}
        assert await client.settle() == await stranger.settle() == []


@pytest.mark.parametrize("way", [*WAYS, "message"])
async def test_off_is_off(server, way):
    """Nothing is new where the setting isn't."""
    token = make_token()
    async with Client(server.ws, **({} if way == "message" else brought(token, way))) as client:
        if way == "message":
            await client.send({"token": token})
        assert (await client.receive())["code"] == "invalid_token"
        await client.send({"type": "watch", "users": [1]})
        assert (await client.receive())["code"] == "not_authenticated"


LOOK_ALIKES = [
    *("x" * 15, "x" * 129, "x" * 15 + "é", "x" * 16 + " ", "user_ws.1", "user_ws::1" * 3),
    *("a.b.c", "aaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb.cccccccccccccccc", "." * 20),
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",  # all that a client with a bug sends of its JWT
]


@pytest.mark.parametrize("token", LOOK_ALIKES)
async def test_what_is_no_such_token(on, token):
    """It is told so; the socket waits for another."""
    async with Client(on.ws) as client:
        await client.send({"token": token})
        assert (await client.receive())["code"] == "invalid_token"
        await client.send({"token": make_token()})
        await client.subscribed()


@pytest.mark.parametrize("token", [5, None, ["x" * 20], {"a": 1}, True])
async def test_what_is_no_token(on, token):
    """A bad message, as ever."""
    async with Client(on.ws) as client:
        await client.send({"token": token})
        assert (await client.receive())["code"] == "bad_message"


async def test_a_jwt_is_a_jwt(on, alice):
    """Good or bad, it never opens an anonymous session."""
    for token, answer in [
        (alice.ws_token(), "subscribed"),
        (sign("alice", exp=int(time.time()) - 10), "expired_token"),
        (sign("nobody"), "user_not_found"),
        (sign("alice", key="k" * 40), "invalid_token"),
    ]:
        async with Client(on.ws, token) as client:
            message = await client.receive()
            assert message.get("code", message["type"]) == answer
            assert message.get("user", alice.pk) == alice.pk


async def test_two_tokens_in_one_handshake(on, alice):
    """Are refused: nobody guesses which is meant."""
    options = brought(make_token(), "header")
    async with Client(on.ws, alice.ws_token(), **options) as client:
        assert (await client.receive())["code"] == "invalid_token"


async def test_without_a_token_nobody_gets_in(on, alice):
    """A cookie signs its user in; without one the socket waits, and is not anonymous."""
    origin = on.ws.replace("ws://", "http://").removesuffix("/ws")
    cookie = await session_cookie(alice)
    async with Client(on.ws, additional_headers={**cookie, "Origin": origin}) as client:
        assert (await client.subscribed())["user"] == alice.pk
    async with Client(on.ws, additional_headers={"Cookie": "sessionid=nobody"}) as client:
        assert await client.settle() == []
        await client.send({"type": "watch", "users": [1]})
        assert (await client.receive())["code"] == "not_authenticated"
    # With both, the token counts.
    headers = {**cookie, "Origin": origin}
    async with Client(on.ws, make_token(), additional_headers=headers) as client:
        assert (await client.subscribed())["user"] is None
        assert not await sync_to_async(lambda: alice.is_online)()


async def test_other_sites_are_refused(on):
    """The origin is asked first."""
    with pytest.raises(Exception, match="403"):
        await Client(on.ws, make_token(), origin="https://evil.example").__aenter__()


# --- what it gets, and what it does not ------------------------------------------------------


async def test_broadcasts_where_the_project_says_so(common, on, alice):
    """With replay, for that stream is everybody's."""
    token = make_token()
    async with Client(common.ws, token) as client, Client(on.ws, make_token()) as other:
        first = await client.subscribed()
        assert set(first["position"]) == {"common"}
        await other.subscribed()
        await publishing.abroadcast("for all")
        message = await client.receive_type("data")
        assert (message["data"], set(message["position"])) == ("for all", {"common"})
        await publishing.apublish_anonymous(token, "for you")
        assert "position" not in await client.receive_type("data")
        assert await other.settle() == []
    await publishing.abroadcast("missed")
    await publishing.apublish_anonymous(token, "not recorded")
    async with Client(f"{common.ws}?since=~{message['position']['common']}") as client:
        await client.send({"token": token, "since": message["position"]})
        again = await client.subscribed()
        assert (again["recovered"], again["replayed"]) == (True, 1)
        assert await client.data() == "missed"
        assert await client.settle() == []


async def test_messages_of_users_are_not_for_it(on, alice):
    """Whatever the token is: a user's key, group, name or primary key."""
    tokens = [f"user_ws_{alice.pk}_________", str(alice.pk).zfill(16), "alice".ljust(16, "_")]
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(on.ws, token)) for token in tokens]
        for client in clients:
            await client.subscribed()
        assert await alice.ws_apublish("secret") == 0
        await publishing.abroadcast("for users")
        assert [await client.settle() for client in clients] == [[]] * len(clients)


async def test_it_is_not_in_presence(on, bob, redis):
    """Neither counted nor seen, and nothing of it is in Redis's memory; it may not watch."""
    async with Client(on.ws, bob.ws_token()) as user:
        await user.subscribed()
        await until(only_one_is_online)  # those of other tests have gone
        keys = set(redis.keys("user_ws.*"))
        async with Client(on.ws, make_token()) as client:
            await client.subscribed()
            assert await only_one_is_online()
            for kind in ("watch", "unwatch"):
                await client.send({"type": kind, "users": [bob.pk]})
                assert (await client.receive())["code"] == "forbidden"
            await client.send({"type": "watch", "users": "nonsense"})
            assert (await client.receive())["code"] == "forbidden"
            assert await client.settle() == []
            assert set(redis.keys("user_ws.*")) <= keys


async def only_one_is_online():
    """Tell whether presence counts one user."""
    return await presence.aonline_count() == 1


async def test_watching_where_a_class_forgets_itself(settings, alice):
    """There is no user who could be asked whom to watch."""
    settings.BAZIS_WS_ANONYMOUS = True
    consumer = type("Mine", (UserWsConsumer,), {"anonymous_types": frozenset({"watch"})})
    application = JWTAuthMiddlewareStack(consumer.as_asgi())
    async with WsClient(application, token=make_token()) as client:
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive())["code"] == "forbidden"


async def test_tenants_have_nothing_in_common(settings, transactional_db):
    """The same token in two namespaces is two sessions, each with its own broadcasts."""
    settings.BAZIS_WS_ANONYMOUS = settings.BAZIS_WS_ANONYMOUS_COMMON = True
    token, clients = make_token(), {}
    async with contextlib.AsyncExitStack() as stack:
        for tenant in ("north", "south"):
            settings.BAZIS_WS_NAMESPACE = tenant
            clients[tenant] = await stack.enter_async_context(WsClient(token=token))
        for tenant, client in clients.items():
            settings.BAZIS_WS_NAMESPACE = tenant
            await publishing.apublish_anonymous(token, tenant)
            await publishing.abroadcast(f"all of {tenant}")
            assert [await client.receive_data() for _ in range(2)] == [tenant, f"all of {tenant}"]
        for client in clients.values():
            await client.receive_nothing()


async def test_no_token_in_redis_or_in_the_log(on, redis):
    """Channel names are digests."""
    token = make_token()
    async with Client(on.ws) as client:
        await client.send({"token": token})
        await client.subscribed()
        channels = redis.pubsub_channels("*anonymous_ws*")
        assert [name for name in channels if anonymous_group(anonymous_key(token)) in name]
        assert not [name for name in redis.pubsub_channels() if token in name]
        await publishing.apublish_anonymous(token, "x")
        await client.data()
    await until(lambda: not redis.pubsub_channels(f"*{anonymous_group(anonymous_key(token))}"))
    assert token not in on.log


async def test_own_messages_need_a_word(on, alice):
    """A project's types are closed to anonymous sessions unless the class opens them."""
    url = on.ws.replace("/ws", "/project/")
    async with Client(url, make_token()) as client:
        await client.subscribed()
        await client.send({"type": "hello"})
        assert await client.receive() == {"type": "hello", "user": None}
        for kind in ("join", "rename", "slow_query", "fail"):
            await client.send({"type": kind, "group": "g", "name": "x", "seconds": 0})
            assert (await client.receive())["code"] == "forbidden"
        await client.send({"type": "vote", "for": "b"})
        assert await client.receive() == {"type": "voted", "for": "b", "anonymous": True}
        await client.send({"type": "nonsense"})
        assert (await client.receive())["code"] == "bad_message"
    async with Client(url, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "vote", "for": "a"})
        assert await client.receive() == {"type": "voted", "for": "a", "anonymous": False}


# --- its life -------------------------------------------------------------------------------


async def test_from_nobody_to_a_user_and_back(on, alice):
    """On one socket; what is published to the one is not for the other."""
    token = make_token()
    async with Client(on.ws, token) as client:
        await client.subscribed()
        await client.send({"token": alice.ws_token()})
        assert (await client.subscribed())["user"] == alice.pk
        await publishing.apublish_anonymous(token, "late")
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive())["type"] == "presence"
        assert await alice.ws_apublish("for alice") == 1
        assert await client.data() == "for alice"
        await client.send({"token": token})
        assert (await client.subscribed())["user"] is None
        assert await alice.ws_apublish("late") == 0
        await publishing.apublish_anonymous(token, "for you")
        assert await client.data() == "for you"
        await until(sync_to_async(lambda: not alice.is_online))
        assert [each["data"] for each in client.seen if each["type"] == "data"] == [
            *("for alice", "for you")
        ]
        await client.send({"token": "a.bad.jwt"})
        assert (await client.receive())["code"] == "invalid_token"
        await publishing.apublish_anonymous(token, "ended")
        assert await client.settle() == []


async def test_what_ends_users_sessions_does_not_end_it(on, alice):
    """Log-out, revocation, disconnection: there is no user."""
    async with Client(on.ws, make_token()) as client, Client(on.ws, alice.ws_token()) as user:
        await client.subscribed()
        await user.subscribed()
        await alice.ws_adisconnect()
        assert await user.closed() == 4401
        assert await client.settle() == []


async def test_several_connections_of_one_token(on):
    """All get what is published, as a user's do; one that goes leaves the others."""
    token = make_token()
    async with Client(on.ws, token) as first:
        await first.subscribed()
        async with Client(on.ws, token) as second:
            await second.subscribed()
            await publishing.apublish_anonymous(token, 1)
            assert (await first.data(), await second.data()) == (1, 1)
        await publishing.apublish_anonymous(token, 2)
        assert await first.data() == 2


async def test_the_server_stops(daphne):
    """Anonymous sessions are told to come back, as all."""
    server = daphne(**ON)
    async with Client(server.ws, make_token()) as client:
        await client.subscribed()
        server.process.send_signal(signal.SIGTERM)
        assert await client.closed() == 4503


async def test_back_after_a_restart(daphne, common):
    """The same token has the same group everywhere, and its place in the broadcasts."""
    token = make_token()
    server = daphne(**COMMON)
    async with Client(server.ws, token) as client:
        position = (await client.subscribed())["position"]
        await asyncio.to_thread(server.stop)
        await publishing.abroadcast("meanwhile")
    async with Client(f"{common.ws}?since=~{position['common']}&token={token}") as client:
        assert (await client.receive())["recovered"] is True
        assert await client.data() == "meanwhile"
        await publishing.apublish_anonymous(token, "live")
        assert await client.data() == "live"


# --- limits ---------------------------------------------------------------------------------


async def test_sessions_of_one_address(narrow, alice):
    """One too many gets 4429; other addresses and users don't count, and who goes makes room."""
    async with contextlib.AsyncExitStack() as stack:

        async def enter(address, token):
            client = Client(narrow.ws, **at(address, token))
            await stack.enter_async_context(client)
            return client

        first = [await enter("203.0.113.5", make_token()) for _ in range(BY_ADDRESS)]
        for client in first:
            await client.subscribed()
        refused = await enter("203.0.113.5", make_token())
        assert (await refused.receive())["code"] == "too_many_connections"
        assert await refused.closed() == 4429
        user = await enter("203.0.113.5", alice.ws_token())
        assert (await user.subscribed())["user"] == alice.pk
        # Who has a session doesn't lose it: to change the token is to take one's own place.
        await first[0].send({"token": make_token()})
        await first[0].subscribed()
        others = [await enter(f"203.0.113.{n}", make_token()) for n in range(10, 13)]
        for client in others:
            await client.subscribed()
        # In all.
        refused = await enter("203.0.113.99", make_token())
        error = await refused.receive()
        assert (error["code"], 5 <= error["retry_after"] <= 15) == ("server_busy", True)
        assert await refused.closed() == 4503
        await first[1].socket.close()
        again = await enter("203.0.113.5", make_token())
        await again.subscribed()
        # A user who signs out on the socket needs a place, too.
        await user.send({"token": make_token()})
        assert (await user.receive())["code"] == "too_many_connections"
        assert await user.closed() == 4429
        for client in (*first[2:], *others, again):
            assert await client.settle() == []


async def test_many_tokens_of_one_address(narrow, redis, alice):
    """Nobody gets more than the limit, others are served, and nothing is left behind."""
    tokens = iter([make_token() for _ in range(ATTEMPTS)])
    held, codes = contextlib.AsyncExitStack(), Counter()

    async def attack():
        for token in tokens:
            async with contextlib.AsyncExitStack() as mine:
                client = Client(narrow.ws, **at("203.0.113.66", token), open_timeout=60)
                message = await (await mine.enter_async_context(client)).receive()
                codes[message.get("code", message["type"])] += 1
                if message["type"] == "subscribed":
                    await held.enter_async_context(mine.pop_all())

    keys = len(redis.keys("*"))
    async with Client(narrow.ws, **at("203.0.113.7", make_token())) as bystander, held:
        await bystander.subscribed()
        attackers = [asyncio.create_task(attack()) for _ in range(50)]
        async with Client(narrow.ws, **at("203.0.113.7", alice.ws_token())) as user:
            await user.subscribed()
            await asyncio.gather(*attackers)
            assert codes.pop("subscribed") == BY_ADDRESS
            assert codes.keys() <= {"too_many_connections", "server_busy"}
            assert len(redis.pubsub_channels("*anonymous_ws*")) == BY_ADDRESS + 1
            assert await bystander.settle() == await user.settle() == []
    await until(lambda: not redis.pubsub_channels("*anonymous_ws*"))
    assert len(redis.keys("*")) < keys + 20  # of alice's presence, and of no token


async def test_many_tokens_over_one_socket(narrow, redis):
    """They cost as much as any token does, and one place."""
    with RawSocket(narrow.ws) as socket:
        with contextlib.suppress(OSError):
            for _ in range(2000):
                socket.text(json.dumps({"token": make_token()}))
        assert await asyncio.to_thread(socket.close_code) == 4429
    await until(lambda: not redis.pubsub_channels("*anonymous_ws*"))
