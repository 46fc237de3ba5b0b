"""Every limit: what is within passes, what is over gets the contract's answer."""

import asyncio
import contextlib
import json
import time

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.kit import Client, RawSocket, until

BURST, BAD, CONNECTIONS, WATCHED, FRAME = 30, 5, 3, 4, 500


SETTINGS = {
    "BAZIS_WS_AUTH_TIMEOUT": 1,
    "BAZIS_WS_FRAMES_PER_SECOND": 5,
    "BAZIS_WS_FRAMES_BURST": BURST,
    "BAZIS_WS_MAX_BAD_MESSAGES": BAD,
    "BAZIS_WS_MAX_CONNECTIONS": CONNECTIONS,
    "BAZIS_WS_MAX_WATCHED": WATCHED,
    "BAZIS_WS_MAX_FRAME_BYTES": FRAME,
    "BAZIS_WS_MAX_TOKEN_BYTES": 400,
    "BAZIS_WS_OFFLINE_GRACE_SECONDS": 0.2,
}


@pytest.fixture(scope="module")
def narrow(servers):
    """A server with small limits."""
    return servers(**SETTINGS)


@pytest.fixture(scope="module")
def narrow_too(servers):
    """Another process of it."""
    return servers(**SETTINGS)


# --- authentication timeout -----------------------------------------------------------------


async def test_authentication_timeout(narrow):
    """A socket without a token gets `auth_timeout` and 4401, and not before its time."""
    started = time.monotonic()
    async with Client(narrow.ws) as client:
        assert await client.closed() == 4401
        assert [message["code"] for message in client.seen] == ["auth_timeout"]
        assert time.monotonic() - started > 0.9


async def test_pings_do_not_stop_the_timeout(narrow):
    """Neither pings nor bad tokens give a socket more time."""
    async with Client(narrow.ws) as client:
        started = time.monotonic()
        with contextlib.suppress(Exception):
            while True:
                await client.send({"token": "a.b.c"})
                await client.receive()
                await client.settle()
                await until(moment_later())  # a client's own pace, below every limit
        assert await client.closed() == 4401
        assert client.seen[-1]["code"] == "auth_timeout"
        assert time.monotonic() - started < 10


def moment_later():
    """Return a condition that holds in 0.3 s."""
    moment = time.monotonic() + 0.3
    return lambda: time.monotonic() > moment


async def test_a_session_has_no_timeout(narrow, alice):
    """A session outlives the timeout."""
    async with Client(narrow.ws, alice.ws_token()) as client, Client(narrow.ws) as other:
        await client.subscribed()
        assert await other.closed() == 4401
        assert await client.settle() == []


async def test_a_session_that_ends_has_the_timeout_again(narrow, alice):
    """After a session's end the socket waits as long as at the start."""
    async with Client(narrow.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"token": "a.b.c"})
        assert (await client.receive())["code"] == "invalid_token"
        assert await client.closed() == 4401
        assert client.seen[-1]["code"] == "auth_timeout"


def crowd(server, size):
    """Open `size` sockets without a token; return the close codes, seconds and memory taken."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(RawSocket(server.ws)) for _ in range(size)]
        opened, memory_bytes = time.monotonic(), server.memory_bytes
        codes = [each.close_code() for each in sockets]
        return codes, time.monotonic() - opened, memory_bytes


async def test_500_unauthenticated_sockets(narrow):
    """All are closed within the timeout and 2 s, and what they took is there for the next."""
    peaks = []
    for _ in range(12):
        codes, seconds, memory_bytes = await asyncio.to_thread(crowd, narrow, 500)
        assert codes == [4401] * 500
        assert seconds < SETTINGS["BAZIS_WS_AUTH_TIMEOUT"] + 2
        peaks.append(memory_bytes)
        # What is kept would be kept each time; the garbage collector takes some rounds.
        if len(peaks) > 1 and peaks[-1] - peaks[-2] < 1_000_000:
            return
    pytest.fail(f"memory grows with every 500 sockets: {peaks}")


# --- frames ---------------------------------------------------------------------------------


async def test_frame_bytes(narrow):
    """A frame of the limit's size passes; one byte more closes with 4413."""
    fits = json.dumps({"type": "ping", "p": ""})
    fits = fits.replace('""', json.dumps("x" * (FRAME - len(fits))))
    async with Client(narrow.ws) as client:
        assert len(fits) == FRAME
        await client.send(fits)
        assert (await client.receive())["type"] == "pong"
        await client.send(fits.replace("x", "xx", 1))
        assert (await client.receive())["code"] == "message_too_big"
        assert await client.closed() == 4413


async def test_token_bytes(narrow, alice):
    """A token over its own limit is refused."""
    async with Client(narrow.ws) as client:
        await client.send({"token": "x" * 401})
        assert (await client.receive())["code"] == "invalid_token"
        await client.send({"token": alice.ws_token()})
        await client.subscribed()


async def test_burst(narrow, alice):
    """A burst within the limit is answered in full."""
    async with Client(narrow.ws, alice.ws_token()) as client:
        await client.subscribed()
        for _ in range(BURST):
            await client.send({"type": "ping"})
        kinds = [(await client.receive())["type"] for _ in range(BURST)]
        assert kinds == ["pong"] * BURST


async def test_a_burst_over_the_limit(narrow, alice):
    """Frames over the limit are dropped with one `rate_limited`; the session goes on."""
    async with Client(narrow.ws, alice.ws_token()) as client:
        await client.subscribed()
        for _ in range(BURST + 10):
            await client.send({"type": "ping"})
        assert (await client.receive_type("error"))["code"] == "rate_limited"
        await alice.ws_apublish("still here")
        assert await client.data() == "still here"
        kinds = [message["type"] for message in client.seen]
        assert kinds.count("error") == 1
        assert BURST <= kinds.count("pong") < BURST + 10


async def test_a_flood(narrow, alice, bob):
    """A client that never stops is closed with 4429; other sessions are untouched."""
    async with Client(narrow.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        async with Client(narrow.ws, alice.ws_token()) as client:
            await client.subscribed()
            with contextlib.suppress(Exception):
                for _ in range(10 * BURST):
                    await client.send({"type": "ping"})
            assert await client.closed() == 4429
            assert client.seen[-1]["code"] == "rate_limited"
            assert len(client.seen) < 3 * BURST
        assert await bystander.settle() == []


async def test_a_flood_without_a_session(narrow):
    """The limit holds before a session too, and bad messages count."""
    async with Client(narrow.ws) as client:
        with contextlib.suppress(Exception):
            for _ in range(10 * BURST):
                await client.send({"type": "ping"})
        assert await client.closed() == 4429


async def test_bad_messages(narrow, alice):
    """The last of too many bad messages closes with 4400; before it each is answered."""
    async with Client(narrow.ws, alice.ws_token()) as client:
        await client.subscribed()
        for _ in range(BAD - 1):
            await client.send("no JSON")
            assert (await client.receive())["code"] == "bad_message"
        assert await client.settle() == []
        await client.send("no JSON")
        assert (await client.receive())["code"] == "bad_message"
        assert await client.closed() == 4400


# --- connections ----------------------------------------------------------------------------


async def test_connections_of_a_user(narrow, narrow_too, alice, bob):
    """One connection too many, over all processes, gets 4429; others' don't count."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(Client(narrow.ws, alice.ws_token()))
        await first.subscribed()
        for server in (narrow_too, narrow):
            client = await stack.enter_async_context(Client(server.ws, alice.ws_token()))
            await client.subscribed()
        for server in (narrow, narrow_too):
            async with Client(server.ws, alice.ws_token()) as refused:
                assert (await refused.receive())["code"] == "too_many_connections"
                assert await refused.closed() == 4429
        async with Client(narrow.ws, bob.ws_token()) as other:
            assert (await other.subscribed())["user"] == bob.pk
        # A renewal is no further connection, and one that goes makes room.
        await first.send({"token": alice.ws_token()})
        await first.subscribed()
        await first.socket.close()
        await until(sync_to_async(lambda: alice_has(alice, CONNECTIONS - 1)))
        async with Client(narrow_too.ws, alice.ws_token()) as client:
            await client.subscribed()
        assert await alice.ws_apublish("to those who are left") >= CONNECTIONS - 1


def alice_has(user, connections):
    """Tell whether a user has so many connections."""
    return presence.count([user]) == connections


async def test_connections_opened_at_once(narrow, narrow_too, alice):
    """The limit holds when many connect at the same time to both processes."""
    clients = [Client(each.ws, alice.ws_token()) for each in (narrow, narrow_too) * 8]
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(each) for each in clients))
        answers = [message["type"] for message in await asyncio.gather(*map(first, clients))]
        assert answers.count("subscribed") == CONNECTIONS
        assert answers.count("error") == 16 - CONNECTIONS
        await alice.ws_apublish("once")
        live = [each for each, kind in zip(clients, answers, strict=True) if kind != "error"]
        assert [await each.data() for each in live] == ["once"] * CONNECTIONS


async def first(client):
    """Return a client's first message."""
    return await client.receive()


async def test_switching_to_a_full_user(narrow, alice, bob):
    """A switch to a user who has too many connections ends in 4429, not in a session."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            client = await stack.enter_async_context(Client(narrow.ws, bob.ws_token()))
            await client.subscribed()
        async with Client(narrow.ws, alice.ws_token()) as client:
            await client.subscribed()
            await client.send({"token": bob.ws_token()})
            assert (await client.receive())["code"] == "too_many_connections"
            assert await client.closed() == 4429
        assert await until(sync_to_async(lambda: not alice.is_online))
        assert await sync_to_async(lambda: alice_has(bob, CONNECTIONS))()


# --- watched users --------------------------------------------------------------------------


async def test_watched_users(narrow, alice):
    """So many users may be watched and no more; unwatching makes room."""
    ids = [alice.pk + n for n in range(1, WATCHED + 2)]
    async with Client(narrow.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": ids})
        assert (await client.receive())["code"] == "forbidden"
        await client.send({"type": "watch", "users": ids[:WATCHED]})
        told = [await client.receive_type("presence") for _ in range(WATCHED)]
        assert [message["user"] for message in told] == ids[:WATCHED]
        await client.send({"type": "watch", "users": ids[WATCHED:]})
        assert (await client.receive())["code"] == "forbidden"
        await client.send({"type": "unwatch", "users": ids[:1]})
        await client.send({"type": "watch", "users": ids[WATCHED:]})
        assert (await client.receive())["user"] == ids[WATCHED]


async def test_watching_twice_is_watching_once(narrow, alice):
    """A user named twice counts once, and is told once for each `watch`."""
    ids = [alice.pk + n for n in range(WATCHED)]
    async with Client(narrow.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": ids * 3})
        answers = await client.settle()
        assert [message["user"] for message in answers] == ids
        await client.send({"type": "watch", "users": [str(pk) for pk in ids]})
        answers = await client.settle()
        assert [message["user"] for message in answers] == ids
