"""What ends a session ends it, whatever message was lost: endings are looked up again."""

import asyncio
import contextlib
import random
import time
import uuid
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import AsyncClient
from django.utils import timezone

from bazis_ws_channels import auth, publishing
from bazis_ws_channels.auth.unwritten import unwritten
from bazis_ws_channels.exceptions import PresenceUnavailable, PublishError
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import RevokeBefore, RevokeToken
from tests.kit import Client, Daphne, Uvicorn, until
from tests.project.models import User
from tests.sessions.forging import sign

#: A period in which everything must be found, in seconds; and what a busy machine takes on top.
PERIOD, SLACK = 1.0, 2.0


@pytest.fixture(scope="module", params=[Daphne, Uvicorn], ids=["daphne", "uvicorn"])
def kind(request):
    """A kind of server."""
    return request.param


@pytest.fixture(scope="module")
def quick(servers, kind):
    """A server that looks at its sessions again each second."""
    return servers(kind, BAZIS_WS_REAUTHORIZE_SECONDS=PERIOD)


@pytest.fixture(scope="module")
def slow(servers, kind):
    """A server that looks at them again only when it has lost its subscriptions."""
    return servers(kind, BAZIS_WS_REAUTHORIZE_SECONDS=600)


@pytest.fixture(scope="module")
def lenient(servers):
    """A server that lets sessions go on after a new password or a deactivation."""
    return servers(
        BAZIS_WS_REAUTHORIZE_SECONDS=PERIOD / 2,
        BAZIS_WS_END_ON_PASSWORD_CHANGE=False,
        BAZIS_WS_END_ON_DEACTIVATION=False,
    )


async def session_cookie(user):
    """Log a user into Django; return the headers that a browser would then send, and the key."""
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    key = client.cookies["sessionid"].value
    return {"additional_headers": {"Cookie": f"sessionid={key}"}}, key


def rows(user):
    """Return the user's row as a queryset, whose updates send no signal."""
    return get_user_model().objects.filter(pk=user.pk)


# --- what nobody has told -------------------------------------------------------------------


def deactivate(user, token):
    """Deactivate without a signal."""
    rows(user).update(is_active=False)


def delete(user, token):
    """Delete without a signal."""
    rows(user)._raw_delete("default")


def change_password(user, token):
    """Give a new password without a signal."""
    rows(user).update(password=make_password("another"))


def revoke_all(user, token):
    """Revoke all tokens; the message is lost."""
    get_store().ask(RevokeBefore(str(user.pk), None, 60))


def revoke_one(user, token):
    """Revoke one token; the message is lost."""
    get_store().ask(RevokeToken(auth.tokens.verify(token).jti, 60))


SILENT = [deactivate, delete, change_password, revoke_all, revoke_one]


def foreign(user):
    """Return a token that knows nothing of stamps and keys."""
    return sign(user.username, iat=int(time.time()), jti=uuid.uuid4().hex)


@pytest.mark.parametrize("issue", [User.ws_token, foreign])
@pytest.mark.parametrize("end", SILENT)
async def test_found_within_the_period(quick, alice, bob, end, issue):
    """Each ending ends the user's session by an own or a foreign token, and nobody else's."""
    token = issue(alice)
    async with Client(quick.ws, token) as ended, Client(quick.ws, bob.ws_token()) as stays:
        await ended.subscribed()
        await stays.subscribed()
        await sync_to_async(end)(alice, token)
        started_at = time.monotonic()
        assert await ended.closed() == 4401
        assert ended.seen[-1]["code"] == "logged_out"
        assert time.monotonic() - started_at < PERIOD + SLACK
        assert await stays.settle() == []


@pytest.mark.parametrize("end", [deactivate, delete, change_password])
async def test_settings_hold_for_looking_again_too(lenient, alice, bob, end):
    """What the settings say ends nothing, ends nothing when it is looked at again."""
    async with (
        Client(lenient.ws, alice.ws_token()) as stays,
        Client(lenient.ws, bob.ws_token()) as ended,
    ):
        await stays.subscribed()
        await ended.subscribed()
        await sync_to_async(end)(alice, None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PERIOD):
                await stays.receive()
        await sync_to_async(revoke_all)(bob, None)
        assert await ended.closed() == 4401


async def test_a_renewed_session_goes_by_its_newest_token(quick, alice):
    """A revoked former token doesn't end it when it is looked at again."""
    former = alice.ws_token()
    async with Client(quick.ws, former) as client:
        await client.subscribed()
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        await sync_to_async(revoke_one)(alice, former)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * PERIOD):
                await client.receive()


# --- messages lost with the subscriptions ---------------------------------------------------


async def pushed_in_the_gap(redis, server, end):
    """Cut the subscriptions, and end before they are back; True if it came in time for that."""
    lost = server.log.count("The subscriptions at Redis are back")
    redis.client_kill_filter(_type="pubsub")
    await end()
    await until(lambda: server.log.count("The subscriptions at Redis are back") > lost)


async def disconnect(user, token):
    """End the sessions by the user model's method."""
    await user.ws_adisconnect()


async def save_inactive(user, token):
    """Deactivate as a project does."""
    user.is_active = False
    await user.asave()


async def set_password(user, token):
    """Give a new password as a project does."""
    user.set_password("another")
    await user.asave()


async def delete_user(user, token):
    """Delete as a project does."""
    await user.adelete()


async def revoke_token(user, token):
    """Revoke the token."""
    await auth.arevoke_token(token)


PUSHED = [disconnect, save_inactive, set_password, delete_user, revoke_token]


@pytest.mark.parametrize("end", PUSHED)
async def test_in_the_gap(slow, alice, bob, redis, end):
    """While the subscriptions' connection is away for a moment, nothing is missed: by token, and
    by a Django session.
    """
    token = alice.ws_token()
    cookie, _ = await session_cookie(alice)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ended = [await enter(Client(slow.ws, token))]
        if end is not revoke_token:
            ended.append(await enter(Client(slow.ws, **cookie)))
        stays = await enter(Client(slow.ws, bob.ws_token()))
        for client in (*ended, stays):
            await client.subscribed()
        await pushed_in_the_gap(redis, slow, lambda: end(alice, token))
        started_at = time.monotonic()
        assert [await client.closed() for client in ended] == [4401] * len(ended)
        assert {client.seen[-1]["code"] for client in ended} == {"logged_out"}
        assert time.monotonic() - started_at < SLACK
        assert await stays.settle() == []


async def test_reduced_storm_of_cuts(servers, make_user, redis):
    """40 sessions on two processes, subscriptions cut at random while half of the users are logged
    out, deactivated, deleted or given new passwords: exactly those end, in time.
    """
    both = [servers(BAZIS_WS_REAUTHORIZE_SECONDS=3), servers(BAZIS_WS_REAUTHORIZE_SECONDS=3)]
    users = [await sync_to_async(make_user)(f"user{number}") for number in range(40)]
    chance = random.Random(7)
    ends = [disconnect, save_inactive, set_password, delete_user]
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for number, user in enumerate(users):
            client = Client(both[number % 2].ws, user.ws_token())
            clients.append(await stack.enter_async_context(client))
            await clients[-1].subscribed()
        for number, user in enumerate(users[:20]):
            if chance.random() < 0.4:
                redis.client_kill_filter(_type="pubsub")
            await ends[number % 4](user, None)
        started_at = time.monotonic()
        assert [await client.closed() for client in clients[:20]] == [4401] * 20
        assert time.monotonic() - started_at < 3 + SLACK
        assert [await client.settle() for client in clients[20:]] == [[]] * 20


# --- Redis away -----------------------------------------------------------------------------


@pytest.fixture
def away(valkey, servers, settings):
    """A server whose Redis is the test's own, which the test's process uses too."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    settings.BAZIS_WS_REDIS_TIMEOUT = settings.BAZIS_WS_PUBLISH_TIMEOUT = 0.3
    with Daphne({**valkey.settings, "BAZIS_WS_REAUTHORIZE_SECONDS": PERIOD}) as server:
        yield server
        unwritten.__init__()


@pytest.mark.parametrize("issue", [User.ws_token, foreign])
async def test_a_password_changed_while_redis_is_away(away, valkey, alice, bob, issue):
    """The session ends, and the old token opens nothing when Redis is back: a foreign one since
    this process has kept the ending, whoever signs in again meanwhile stays.
    """
    token = issue(alice)
    async with Client(away.ws, token) as client:
        await client.subscribed()
        valkey.pause()
        alice.set_password("another")
        await alice.asave()
        assert await client.closed() == 4401
        assert client.seen[-1]["code"] == "logged_out"
        newer = alice.ws_token()
        valkey.resume()
    assert len(unwritten) == 1
    unwritten._next_at = 0
    await until(sync_to_async(lambda: bob.ws_publish("anything") == 0))
    await until(lambda: not unwritten)
    async with Client(away.ws, token) as client:
        assert (await client.receive())["code"] == "invalid_token"
    async with Client(away.ws, newer) as client:
        await client.subscribed()
        assert await client.settle() == []


async def test_a_log_out_while_redis_is_away(away, valkey, alice, bob):
    """Nothing but this process knows of it: it is written when Redis is back, and ends the session;
    one that was opened by a newer token stays.
    """
    async with Client(away.ws, alice.ws_token()) as ended:
        await ended.subscribed()
        valkey.pause()
        with pytest.raises((PublishError, PresenceUnavailable)):
            await alice.ws_adisconnect()
        newer = alice.ws_token()
        valkey.resume()
        async with Client(away.ws, newer) as stays:
            await stays.subscribed()
            unwritten._next_at = 0
            await sync_to_async(bob.ws_publish)("anything")
            assert await ended.closed() == 4401
            assert await stays.settle() == []
    assert not unwritten


async def test_a_request_writes_what_was_kept(away, valkey, alice):
    """A WSGI process has no loop and may publish nothing: the next request does it."""
    async with Client(away.ws, alice.ws_token()) as client:
        await client.subscribed()
        valkey.pause()
        with pytest.raises((PublishError, PresenceUnavailable)):
            await sync_to_async(alice.ws_disconnect)()
        valkey.resume()
        unwritten._next_at = 0
        await AsyncClient().get("/nothing/")
        assert await client.closed() == 4401


async def test_flushed_redis(quick, alice, redis):
    """A new password voids own tokens without any memory of Redis's."""
    token = alice.ws_token()
    await set_password(alice, token)
    redis.delete(f"user_ws.{alice.pk}.revoked")
    async with Client(quick.ws, token) as client:
        assert (await client.receive())["code"] == "invalid_token"


# --- Django sessions ------------------------------------------------------------------------


def expire(key):
    """Let a Django session's time pass."""
    Session.objects.filter(pk=key).update(expire_date=timezone.now())


def flush(key):
    """End a Django session as a log-out does, without the signal."""
    SessionStore(key).flush()


@pytest.mark.parametrize(("end", "code"), [(expire, "logged_out"), (flush, "logged_out")])
async def test_a_cookie_session_ends_with_its_django_session(quick, alice, end, code):
    """Deleted or expired; another of the same user goes on."""
    (cookie, key), (other, _) = await session_cookie(alice), await session_cookie(alice)
    async with Client(quick.ws, **cookie) as ended, Client(quick.ws, **other) as stays:
        assert (await ended.subscribed())["expires_in"] > 1_000_000
        await stays.subscribed()
        await sync_to_async(end)(key)
        assert await ended.closed() == 4401
        assert ended.seen[-1]["code"] == code
        assert await stays.settle() == []


async def test_a_cookie_session_expires_in_time(slow, alice):
    """At its Django session's end, by a timer; unless that was prolonged meanwhile."""
    (cookie, key), (other, longer) = await session_cookie(alice), await session_cookie(alice)
    at = timezone.now() + timedelta(seconds=2)
    await Session.objects.filter(pk__in=[key, longer]).aupdate(expire_date=at)
    async with Client(slow.ws, **cookie) as ended, Client(slow.ws, **other) as stays:
        assert (await ended.subscribed())["expires_in"] <= 2
        await stays.subscribed()
        much_later = at + timedelta(seconds=600)
        await Session.objects.filter(pk=longer).aupdate(expire_date=much_later)
        assert await ended.closed() == 4401
        assert ended.seen[-1]["code"] == "expired_token"
        await until(lambda: timezone.now() > at + timedelta(seconds=0.5))
        assert await stays.settle() == []


async def test_disconnecting_django_sessions_too(slow, alice, bob):
    """With `sessions=True` the browser can't come back with its cookie; without, it may."""
    cookie, key = await session_cookie(alice)
    _, others = await session_cookie(bob)
    async with Client(slow.ws, **cookie) as client:
        await client.subscribed()
        await alice.ws_adisconnect()
        assert await client.closed() == 4401
    async with Client(slow.ws, **cookie) as client:
        await client.subscribed()
        await sync_to_async(alice.ws_disconnect)(sessions=True)
        assert await client.closed() == 4401
    assert not await Session.objects.filter(pk=key).aexists()
    assert await Session.objects.filter(pk=others).aexists()
    async with Client(slow.ws, **cookie) as client:
        await client.send({"type": "watch", "users": []})
        assert (await client.receive())["code"] == "not_authenticated"


@pytest.mark.parametrize("engine", ["cache", "signed_cookies", "file"])
def test_engines_that_cannot_find_a_users_sessions(settings, alice, engine, caplog):
    """They say so in the log; the rest is done."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    alice.ws_disconnect(sessions=True)
    assert "can't find a user's sessions" in caplog.text


def test_cached_sessions_are_ended_in_the_cache_too(settings, alice):
    """`cached_db` keeps a copy, which would go on."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore

    session = CachedStore()
    session["_auth_user_id"] = str(alice.pk)
    session.save()
    alice.ws_disconnect(sessions=True)
    assert CachedStore(session.session_key).load() == {}


# --- watches --------------------------------------------------------------------------------


async def narrow(user):
    """Let a user watch nobody any more, without a signal."""
    await rows(user).aupdate(watches="none")


async def test_watches_are_asked_again(quick, alice, bob):
    """Whom a user may watch no longer is watched no longer, within the period."""
    async with Client(quick.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.watch(alice, bob)
        await narrow(alice)
        error = await client.receive()
        assert (error["code"], str(bob.pk) in error["detail"]) == ("forbidden", True)
        async with Client(quick.ws, bob.ws_token()) as other:
            await other.subscribed()
            assert await client.settle() == []


async def test_watches_are_asked_again_at_a_renewal(slow, alice, bob):
    """By the user as the renewal finds the row."""
    async with Client(slow.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.watch(bob)
        await narrow(alice)
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        assert (await client.receive())["code"] == "forbidden"


# --- passwords ------------------------------------------------------------------------------


async def assign_hash(user):
    """Assign a hash, as scripts do."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.password = await sync_to_async(make_password)("another")
    await user.asave()


async def assign_hash_after_setting_a_password(user):
    """The same on an instance on which a password was set before, which the caller saved."""
    user.password = await sync_to_async(make_password)("another")
    await user.asave(update_fields=["password"])


async def make_unusable(user):
    """Take the password away."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.set_unusable_password()
    await user.asave(update_fields=["password"])


async def assign_a_deferred_hash(user):
    """The field was not loaded."""
    user = await get_user_model().objects.defer("password").aget(pk=user.pk)
    user.password = await sync_to_async(make_password)("another")
    await user.asave()


@pytest.mark.parametrize(
    "change",
    [assign_hash, assign_hash_after_setting_a_password, make_unusable, assign_a_deferred_hash],
)
async def test_every_way_to_change_a_password(slow, make_user, change):
    """Ends the sessions at once, as `set_password` does."""
    alice = await sync_to_async(make_user)("alice")
    async with Client(slow.ws, alice.ws_token()) as client:
        await client.subscribed()
        await change(alice)
        assert await client.closed() == 4401
        assert client.seen[-1]["code"] == "logged_out"


async def test_a_new_hash_of_the_same_password(quick, alice, settings):
    """A hash that Django upgrades at a log-in ends no session, not even when it is looked at
    again; tokens from before it open nothing, as with Django's own sessions.
    """
    token = alice.ws_token()
    settings.PASSWORD_HASHERS = [
        f"django.contrib.auth.hashers.{name}"
        for name in ("PBKDF2PasswordHasher", "MD5PasswordHasher")
    ]
    async with Client(quick.ws, token) as client:
        await client.subscribed()
        user = await get_user_model().objects.aget(pk=alice.pk)
        assert await user.acheck_password("demo")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * PERIOD):
                await client.receive()
    async with Client(quick.ws, token) as client:
        assert (await client.receive())["code"] == "invalid_token"


async def test_refreshed_and_saved(slow, alice):
    """A user who is loaded again after a change and saved for something else isn't ended twice."""
    stale = await get_user_model().objects.aget(pk=alice.pk)
    await assign_hash(alice)
    await stale.arefresh_from_db()
    async with Client(slow.ws, stale.ws_token()) as client:
        await client.subscribed()
        await stale.asave()
        assert await client.settle() == []


# --- what belongs to a session --------------------------------------------------------------


@pytest.fixture
def life(redis):
    """What the project's consumer noted of its sessions, in order."""
    redis.set("test.life.wanted", 1)
    yield lambda: redis.lrange("test.life", 0, -1)
    redis.delete("test.life.wanted", "test.life")


async def test_groups_of_a_session_end_with_it(slow, alice, bob):
    """A group that a consumer joined for alice doesn't reach bob on the same socket, nor nobody."""
    layer = get_channel_layer()
    url = slow.ws.replace("/ws", "/project/")
    async with Client(url, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "join", "group": "room"})
        assert (await client.receive())["type"] == "joined"
        await layer.group_send("room", {"type": "order.shipped", "number": 1})
        assert (await client.receive())["number"] == 1
        await client.send({"token": bob.ws_token()})
        await client.subscribed()
        await layer.group_send("room", {"type": "order.shipped", "number": 2})
        await bob.ws_apublish("after")
        assert [message.get("data") for message in [await client.receive()]] == ["after"]
        await client.send({"type": "join", "group": "room"})
        assert (await client.receive())["type"] == "joined"
        await client.send({"token": "a.b.c"})
        assert (await client.receive())["code"] == "invalid_token"
        await layer.group_send("room", {"type": "order.shipped", "number": 3})
        await client.send({"token": bob.ws_token()})
        await client.subscribed()
        assert await client.settle() == []


async def test_session_started_is_cancelled(slow, alice, bob, life):
    """It doesn't go on in the next user's session."""
    url = slow.ws.replace("/ws", "/project/")
    await rows(alice).aupdate(first_name="slow starter")
    async with Client(url, alice.ws_token()) as client:
        await client.subscribed()
        await until(lambda: life() == [f"started {alice.pk}"])
        await client.send({"token": bob.ws_token()})
        await client.subscribed()
        await until(lambda: f"started {bob.pk}" in life())
    await until(lambda: f"ended {bob.pk}" in life())
    assert life() == [
        f"started {alice.pk}",
        f"cancelled {alice.pk}",
        f"ended {alice.pk}",
        f"started {bob.pk}",
        f"ended {bob.pk}",
    ]


async def drop(client, user):
    """The client goes."""
    await client.socket.close()


async def be_logged_out(client, user):
    """The server ends it."""
    await user.ws_adisconnect()


async def send_a_bad_token(client, user):
    """The token is no good."""
    await client.send({"token": "a.b.c"})


@pytest.mark.parametrize("end", [drop, be_logged_out, send_a_bad_token])
async def test_session_ended_runs_once(slow, alice, life, end):
    """However the session ends; not for one that never began, and not at renewals."""
    url = slow.ws.replace("/ws", "/project/")
    async with Client(url, "a.b.c") as client:
        await client.receive()
    async with Client(url, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        await until(lambda: life() == [f"started {alice.pk}"])
        await end(client, alice)
        await until(lambda: f"ended {alice.pk}" in life())
    assert life() == [f"started {alice.pk}", f"ended {alice.pk}"]


async def test_session_ended_that_fails(servers, alice, bob, life):
    """It is logged; the connection goes on."""
    server = Daphne()
    server.wait_until_ready()
    url = server.ws.replace("/ws", "/project/")
    await rows(alice).aupdate(first_name="bad ender")
    async with Client(url, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"token": bob.ws_token()})
        assert (await client.subscribed())["user"] == bob.pk
        await bob.ws_apublish("still here")
        assert await client.data() == "still here"
    server.stop()
    assert "session_ended() failed" in server.log


async def test_the_server_stops(alice, life):
    """The hook runs before a server goes."""
    server = Daphne()
    server.wait_until_ready()
    async with Client(server.ws.replace("/ws", "/project/"), alice.ws_token()) as client:
        await client.subscribed()
        await until(lambda: life() == [f"started {alice.pk}"])
        await asyncio.to_thread(server.stop)
    await until(lambda: f"ended {alice.pk}" in life())
    assert server.tracebacks == 0


async def test_nothing_arrives_after_the_end(slow, alice):
    """Not even while `session_started` takes its time to be cancelled."""
    url = slow.ws.replace("/ws", "/project/")
    await rows(alice).aupdate(first_name="slow starter")
    for _ in range(10):
        async with Client(url, alice.ws_token()) as client:
            await client.subscribed()
            publishing_on = asyncio.create_task(publish_for_a_while())
            await client.send({"token": "a.b.c"})
            assert (await client.receive_type("error"))["code"] == "invalid_token"
            await publishing_on
            assert await client.settle() == []


async def publish_for_a_while():
    """Broadcast as fast as one can."""
    for number in range(20):
        await publishing.abroadcast(number)
