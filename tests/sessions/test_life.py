"""A session's life: renewal, switch, expiry, and the end that the server makes."""

import asyncio
import contextlib
import itertools
import json
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import AsyncClient, override_settings

from bazis_ws_channels import auth, presence
from bazis_ws_channels.auth import tokens
from bazis_ws_channels.testing import WsClient, isolate
from tests.kit import Client, RawSocket, until
from tests.project.models import Staff

#: The shortest life of a token, in seconds, in which a busy machine surely opens a session.
SHORT = 2
SETTINGS = {"BAZIS_WS_OFFLINE_GRACE_SECONDS": 0.2, "BAZIS_WS_MAX_CONNECTIONS": 2000}


@pytest.fixture(scope="module")
def first(servers):
    """A server process."""
    return servers(**SETTINGS)


@pytest.fixture(scope="module")
def second(servers):
    """Another one."""
    return servers(**SETTINGS)


@contextlib.asynccontextmanager
async def sessions(user, *servers):
    """Open a session of the user on each server."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for server in servers:
            token = await sync_to_async(user.ws_token)()
            clients.append(await stack.enter_async_context(Client(server.ws, token)))
            await clients[-1].subscribed()
        yield clients


async def gone(user):
    """Tell whether a user has no connection."""
    return await presence.acount([user]) == 0


# --- renewal and switch ---------------------------------------------------------------------


async def test_renewal_without_a_gap(first, alice):
    """While messages are published all the time, 50 renewals lose none and double none."""
    stop = asyncio.Event()

    async def publish():
        for number in itertools.count():
            await alice.ws_apublish(number)
            if stop.is_set():
                return number + 1

    async with Client(first.ws, alice.ws_token()) as client:
        await client.subscribed()
        publisher = asyncio.create_task(publish())
        for _ in range(11):  # each costs as much as five frames
            await client.send({"token": alice.ws_token()})
            await client.subscribed()
            assert await client.data() < await client.data()
        stop.set()
        published = await publisher
        got = [message["data"] for message in client.seen if message["type"] == "data"]
        while len(got) < published:
            got.append(await client.data())
        assert published > 20
        assert got == list(range(published))
        assert await client.settle() == []
        assert await alice.ws_apublish("end") == 1


async def test_renewal_takes_the_later_end(first, alice):
    """A session goes by its newest token: the older one's end passes unnoticed."""
    async with Client(first.ws, alice.ws_token(lifetime=SHORT)) as client:
        assert (await client.subscribed())["expires_in"] <= SHORT + 1
        await client.send({"token": alice.ws_token(lifetime=600)})
        assert 590 <= (await client.subscribed())["expires_in"] <= 600
        async with Client(first.ws, alice.ws_token(lifetime=SHORT)) as shorter:
            await shorter.subscribed()
            assert (await shorter.receive())["code"] == "expired_token"
        assert await client.settle() == []


async def test_renewal_keeps_what_is_watched(first, alice, bob):
    """Watches go on over a renewal, and end with the session."""
    async with Client(first.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": [bob.pk]})
        assert (await client.receive_type("presence"))["is_online"] is False
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        async with sessions(bob, first):
            assert (await client.receive_type("presence"))["is_online"] is True
        assert (await client.receive_type("presence"))["is_online"] is False


async def test_switch_of_the_user(first, alice, bob):
    """Another user's token switches cleanly: groups, presence and watches are the new user's."""
    async with Client(first.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": [bob.pk]})
        await client.receive_type("presence")
        await client.send({"token": bob.ws_token()})
        assert (await client.subscribed())["user"] == bob.pk
        assert await alice.ws_apublish("for alice") == 0
        assert await bob.ws_apublish("for bob") == 1
        assert await client.data() == "for bob"
        assert await client.settle() == []
        online = await presence.aonline([alice, bob])
        assert online == {bob.pk}


async def test_a_bad_token_ends_the_session(first, alice):
    """A bad token in mid-session ends it; a good one opens the next on the same socket."""
    async with Client(first.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"token": "a.b.c"})
        assert (await client.receive())["code"] == "invalid_token"
        await until(lambda: gone(alice))
        assert await alice.ws_apublish("nobody gets this") == 0
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        assert await alice.ws_apublish("this arrives") == 1
        assert await client.data() == "this arrives"


# --- expiry ---------------------------------------------------------------------------------


async def test_expiry(first, alice, bob):
    """At `exp` the session ends: error, groups and presence left; then a new token is good."""
    async with Client(first.ws, alice.ws_token(lifetime=SHORT)) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": [bob.pk]})
        await client.receive_type("presence")
        error = await client.receive()
        assert (error["code"], error["detail"]) == ("expired_token", "Token expired")
        await until(lambda: gone(alice))
        assert await alice.ws_apublish("too late") == 0
        async with sessions(bob, first):
            await client.send({"type": "watch", "users": [bob.pk]})
            assert (await client.receive())["code"] == "not_authenticated"
        await client.send({"token": alice.ws_token()})
        assert (await client.subscribed())["user"] == alice.pk
        assert await client.settle() == []


async def test_a_session_does_not_end_early(first, alice):
    """The session lasts until the token's `exp`."""
    token = alice.ws_token(lifetime=2)
    async with Client(first.ws, token) as client:
        expires_in = (await client.subscribed())["expires_in"]
        started = time.monotonic()
        await client.receive_type("error")
        assert expires_in - 0.5 <= time.monotonic() - started


async def test_expiry_then_timeout(servers, alice):
    """A client that brings no new token after the end is closed with 4401."""
    server = servers(BAZIS_WS_AUTH_TIMEOUT=0.5)
    async with Client(server.ws, alice.ws_token(lifetime=SHORT)) as client:
        await client.subscribed()
        assert await client.closed() == 4401
        codes = [message.get("code") for message in client.seen]
        assert codes == [None, "expired_token", "auth_timeout"]


async def test_renewal_in_the_last_moment(first, alice, redis):
    """A renewal that is on its way when the older token expires is not undone by that."""
    token, newer = alice.ws_token(lifetime=SHORT), alice.ws_token()
    async with Client(first.ws, token) as client:
        await client.subscribed()
        expires_at = tokens.verify(token).expires_at
        await until(lambda: time.time() > expires_at - 0.5)
        redis.client_pause(1000)  # milliseconds, in the middle of which the older token expires
        await client.send({"token": newer})
        await client.subscribed()
        await until(lambda: time.time() > expires_at)
        assert await client.settle() == []
        assert await alice.ws_apublish("still here") == 1
        assert await client.data() == "still here"


@contextlib.contextmanager
def crowd(server, size):
    """Open `size` sockets, without a session yet."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RawSocket(server.ws)) for _ in range(size)]


def subscribe(sockets, token):
    """Open a session on each socket, or renew it; False if a token expired before its answer.

    Not all at once: how many sign-ins wait before others are refused is another test's matter.
    """
    message = json.dumps({"token": token})
    for start in range(0, len(sockets), 50):
        some = sockets[start : start + 50]
        for each in some:
            each.text(message)
        for each in some:
            while (answer := json.loads(each.message()[1]))["type"] != "subscribed":
                if answer["type"] == "error":
                    return False
    return True


async def test_1000_sessions_expire_in_the_same_second(servers, alice, bob):
    """All end at once, and a bystander's pings are answered all the while."""
    frames = {"BAZIS_WS_FRAMES_PER_SECOND": 10_000, "BAZIS_WS_FRAMES_BURST": 10_000}
    server = servers(**SETTINGS, **frames, BAZIS_WS_AUTH_TIMEOUT=60)
    async with Client(server.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        with crowd(server, 1000) as sockets:
            started = time.monotonic()
            assert await asyncio.to_thread(subscribe, sockets, alice.ws_token(600))
            took_seconds = time.monotonic() - started
            token = alice.ws_token(2 + 3 * took_seconds)
            assert await asyncio.to_thread(subscribe, sockets, token)
            slowest_seconds = await slowest_ping_until(bystander, lambda: gone(alice))
            print(f"slowest ping: {slowest_seconds * 1000:.0f} ms")
            expired = [each.read_until(b'"expired_token"') for each in sockets]
            assert expired == [True] * 1000
            assert slowest_seconds < 5
            assert await bob.ws_apublish("still here") == 1
            assert await bystander.data() == "still here"


async def slowest_ping_until(client, condition):
    """Ping without a pause until the condition holds; return the longest answer in seconds."""
    slowest = 0.0
    while not await condition():
        started = time.monotonic()
        await client.settle()
        slowest = max(slowest, time.monotonic() - started)
    return slowest


# --- the end that the server makes ----------------------------------------------------------


async def log_out(user):
    """Log the user in and out of Django, over HTTP."""
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    response = await client.get("/logout/")
    assert response.status_code == 204


async def change_password(user):
    """Change the user's password."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.set_password("another")
    await user.asave()


async def change_password_only(user):
    """Change the user's password and save that field alone."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.set_password("another")
    await user.asave(update_fields=["password"])


async def deactivate(user):
    """Deactivate the user."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.is_active = False
    await user.asave()


async def deactivate_by_proxy(user):
    """Deactivate the user through a proxy model."""
    user = await Staff.objects.aget(pk=user.pk)
    user.is_active = False
    await user.asave(update_fields=["is_active"])


async def delete(user):
    """Delete the user."""
    await get_user_model().objects.filter(pk=user.pk).adelete()


async def delete_by_proxy(user):
    """Delete the user through a proxy model."""
    await (await Staff.objects.aget(pk=user.pk)).adelete()


async def disconnect(user):
    """End the user's sessions by the user model's method."""
    assert await sync_to_async(user.ws_disconnect)() == 3


async def adisconnect(user):
    """The same by its async twin."""
    assert await user.ws_adisconnect() == 3


async def revoke_before(user):
    """Revoke all tokens issued before now."""
    await sync_to_async(auth.revoke_before)(user)


ENDS = {
    log_out: "BAZIS_WS_END_ON_LOGOUT",
    change_password: "BAZIS_WS_END_ON_PASSWORD_CHANGE",
    change_password_only: "BAZIS_WS_END_ON_PASSWORD_CHANGE",
    deactivate: "BAZIS_WS_END_ON_DEACTIVATION",
    deactivate_by_proxy: "BAZIS_WS_END_ON_DEACTIVATION",
    delete: "BAZIS_WS_END_ON_DEACTIVATION",
    delete_by_proxy: "BAZIS_WS_END_ON_DEACTIVATION",
    disconnect: None,
    adisconnect: None,
    revoke_before: None,
}


@pytest.mark.parametrize("end", ENDS)
async def test_end_on_every_process(first, second, alice, bob, end):
    """All of the user's sockets close with 4401, on both processes; others' stay; the tokens
    that were good until then open nothing any more.
    """
    token = alice.ws_token()
    async with sessions(bob, first, second) as others:
        async with sessions(alice, first, first, second) as clients:
            await end(alice)
            ended = time.monotonic()
            assert [await client.closed() for client in clients] == [4401] * 3
            assert time.monotonic() - ended < 5
            assert [client.seen[-1]["code"] for client in clients] == ["logged_out"] * 3
        await until(lambda: gone(alice))
        for server in (first, second):
            async with Client(server.ws, token) as client:
                assert (await client.receive())["code"] in ("invalid_token", "user_not_found")
        assert [await other.settle() for other in others] == [[], []]


@pytest.mark.parametrize("end", [end for end, setting in ENDS.items() if setting])
async def test_each_end_can_be_switched_off(first, alice, end):
    """With its setting off, what ends sessions leaves them alone."""
    async with sessions(alice, first) as [client]:
        with override_settings(**{ENDS[end]: False}):
            await end(alice)
        assert await alice.ws_apublish("still here") == 1
        assert await client.data() == "still here"
        assert [message["type"] for message in client.seen] == ["subscribed", "data"]


async def touch(user):
    """Save the user, password and all, without a change."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.first_name = "Alice"
    await user.asave()


async def set_password_without_saving_it(user):
    """Save another field of a user whose new password is not saved."""
    user = await get_user_model().objects.aget(pk=user.pk)
    user.set_password("another")
    await user.asave(update_fields=["first_name"])


async def upgrade_hash(user):
    """Sign in with a password whose hash Django then replaces by a newer one."""
    user = await get_user_model().objects.aget(pk=user.pk)
    hashers = ["PBKDF2PasswordHasher", "MD5PasswordHasher"]
    with override_settings(PASSWORD_HASHERS=[f"django.contrib.auth.hashers.{h}" for h in hashers]):
        before = user.password
        assert await user.acheck_password("demo")
        assert user.password != before


async def log_in(user):
    """Log in to Django, which saves the time."""
    await sync_to_async(AsyncClient().force_login)(user)


@pytest.mark.parametrize("change", [touch, set_password_without_saving_it, upgrade_hash, log_in])
async def test_other_changes_end_nothing(first, alice, change):
    """A saved user whose password and activity are the same keeps the sessions."""
    async with sessions(alice, first) as [client]:
        await change(alice)
        await alice.ws_apublish("still here")
        assert await client.data() == "still here"
        assert await client.settle() == []


async def test_a_rollback_ends_nothing(first, alice):
    """A change that is rolled back ends no session."""

    def roll_back():
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            alice.is_active = False
            alice.save()
            raise ZeroDivisionError

    async with sessions(alice, first) as [client]:
        await sync_to_async(roll_back)()
        await alice.ws_apublish("still here")
        assert await client.data() == "still here"
        assert await client.settle() == []


async def test_a_token_issued_later_is_good(first, alice):
    """After a logout, a token issued from then on opens a session."""
    await alice.ws_adisconnect()
    async with Client(first.ws, alice.ws_token()) as client:
        assert (await client.subscribed())["user"] == alice.pk


@pytest.mark.parametrize("end", ["ws_adisconnect", "arevoke_before"])
@pytest.mark.parametrize("seconds", [-20, 20])
async def test_the_clock_of_the_host_that_ends_sessions_does_not_count(
    first, alice, monkeypatch, end, seconds
):
    """The moment is Redis's: what was issued before it is void, and what is issued later is good,
    though the host's clock is wrong by 20 s.
    """
    before, now = alice.ws_token(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    await (alice.ws_adisconnect() if end == "ws_adisconnect" else auth.arevoke_before(alice))
    monkeypatch.undo()
    async with Client(first.ws, before) as client:
        assert (await client.receive())["code"] == "invalid_token"
    async with Client(first.ws, alice.ws_token()) as client:
        assert (await client.subscribed())["user"] == alice.pk


async def test_disconnect_without_revoking(first, alice):
    """With `revoke=False` a client may come back with its token; the code is the caller's."""
    token = alice.ws_token()
    async with Client(first.ws, token) as client:
        await client.subscribed()
        assert await alice.ws_adisconnect("maintenance", revoke=False) == 1
        assert await client.closed() == 4401
        assert client.seen[-1]["code"] == "maintenance"
    async with Client(first.ws, token) as client:
        await client.subscribed()


async def test_revoked_token_ends_its_sessions_alone(first, second, alice):
    """Revoking one token ends the sessions opened by it, on every process, and no other."""
    one, other = alice.ws_token(), alice.ws_token()
    async with (
        Client(first.ws, one) as ended,
        Client(second.ws, one) as ended_too,
        Client(second.ws, other) as stays,
    ):
        for client in (ended, ended_too, stays):
            await client.subscribed()
        await sync_to_async(auth.revoke_token)(one)
        assert [await ended.closed(), await ended_too.closed()] == [4401, 4401]
        assert ended.seen[-1]["code"] == "logged_out"
        assert await stays.settle() == []
        async with Client(first.ws, one) as client:
            assert (await client.receive())["code"] == "invalid_token"


async def test_a_renewed_session_outlives_its_first_token(first, alice):
    """A session goes by its newest token, for revocations too."""
    one, other = alice.ws_token(), alice.ws_token()
    async with Client(first.ws, one) as client:
        await client.subscribed()
        await client.send({"token": other})
        await client.subscribed()
        await auth.arevoke_token(one)
        assert await client.settle() == []
        await auth.arevoke_token(other)
        assert await client.closed() == 4401


async def test_revoking_before_a_moment_spares_later_tokens(first, alice):
    """Sessions opened by tokens issued after the moment go on."""
    old = alice.ws_token()
    moment = time.time()
    new = alice.ws_token()
    async with Client(first.ws, old) as ended, Client(first.ws, new) as stays:
        await ended.subscribed()
        await stays.subscribed()
        await auth.arevoke_before(alice, moment)
        assert await ended.closed() == 4401
        assert await stays.settle() == []


async def test_renewing_with_a_revoked_token(first, alice):
    """A revoked token doesn't renew a session: it ends it, as any bad token does."""
    revoked = alice.ws_token()
    await auth.arevoke_token(revoked)
    async with sessions(alice, first) as [client]:
        await client.send({"token": revoked})
        assert (await client.receive())["code"] == "invalid_token"
        await until(lambda: gone(alice))


async def test_an_end_in_the_middle_of_a_switch(first, alice, bob):
    """The end of the former user's sessions never ends the next user's."""
    async with Client(first.ws, alice.ws_token()) as client:
        await client.subscribed()
        for _ in range(5):
            token = bob.ws_token()
            await asyncio.gather(
                client.send({"token": token}), auth.arevoke_before(alice, time.time() - 3600)
            )
            await client.subscribed()
            await client.send({"token": alice.ws_token()})
            await client.subscribed()
        await client.send({"token": bob.ws_token()})
        await client.subscribed()
        await alice.ws_adisconnect()
        assert await client.settle() == []


async def test_whoever_is_disconnected_is_offline(alice):
    """The end of the socket cancels the task that ends the session, but not that it does."""
    with isolate():
        async with WsClient(user=alice) as client:
            await alice.ws_adisconnect()
            assert await client.wait_closed() == 4401
        assert await presence.aonline_users() == set()
