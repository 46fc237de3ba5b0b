"""The table of docs/servers.md: each row is a test, each column a server."""

import re
import time

import pytest
from asgiref.sync import sync_to_async
from websockets.exceptions import InvalidHandshake

from bazis_ws_channels import presence
from bazis_ws_channels.publishing import apublish
from tests.kit import ROOT, until
from tests.presence.support import QUICK
from tests.servers.processes import (
    SERVERS,
    Granian,
    Hypercorn,
    NginxTcp,
    NginxTlsUnix,
    PlainDaphne,
    TlsDaphne,
    UnixDaphne,
    Uvicorn,
    UvicornWebsockets,
)

#: What a client gets at the end of its server.
CODES = {
    **dict.fromkeys((PlainDaphne, TlsDaphne, UnixDaphne, NginxTcp, NginxTlsUnix), 4503),
    **dict.fromkeys((each for each in SERVERS if issubclass(each, Uvicorn)), 1012),
    Hypercorn: 4503,
    Granian: 1006,
}

#: All but one are a target of their own.
PARAMS = [
    pytest.param(each, marks=[] if each is UvicornWebsockets else pytest.mark.servers)
    for each in SERVERS
]


@pytest.fixture(params=PARAMS, ids=lambda server: server.__name__)
async def server(request, daphne):
    """A process of each server."""
    start = sync_to_async(daphne)
    return await start(request.param, **QUICK, BAZIS_WS_SEND_BUFFER_BYTES=100_000)


def can_close(server):
    """Whether the server sends our close frame while the application waits for the client."""
    return not isinstance(server, Granian)


async def leaves(user):
    """Wait until the user has no connection; return how long that took."""
    started_at = time.monotonic()
    await until(lambda: is_gone(user))
    return time.monotonic() - started_at


async def is_gone(user):
    return await presence.acount([user]) == 0


async def test_messages_arrive(server, alice):
    """Signed in by the handshake; pings are answered, data comes in order."""
    async with server.client(alice.ws_token()) as client:
        await client.subscribed()
        assert await apublish([alice], {"n": 1}) == 1
        assert await apublish([alice], {"n": "x" * 100_000}) == 1
        assert [await client.data() for _ in range(2)] == [{"n": 1}, {"n": "x" * 100_000}]
        assert await client.settle() == []
    await leaves(alice)


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_what_a_client_sends_arrives(server, alice, compression):
    """Many messages, small and large, in one frame and in several, all at once."""
    count, texts = 10, [f'{{"type": "ping"}}{" " * size}' for size in (0, 200, 60_000)]
    client = server.client(alice.ws_token())
    client.options["compression"] = compression
    async with client:
        await client.subscribed()
        for _ in range(count):
            for text in texts:
                await client.send(text)
            await client.socket.send([texts[2][:30_000], texts[2][30_000:]])
        for _ in range(4 * count):
            assert (await client.receive())["type"] == "pong"
        assert await client.settle() == []


async def test_the_close_code_arrives(server, alice):
    """4401 at a log-out; 4000 that the project's own code chose."""
    if not can_close(server):
        pytest.xfail("granian sends no close frame of the application")
    async with server.client(alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "bye"})
        assert await client.closed() == 4000
    async with server.client(alice.ws_token()) as client:
        await client.subscribed()
        await alice.ws_adisconnect()
        assert await client.closed() == 4401
        assert client.seen[-1]["code"] == "logged_out"


async def test_who_does_not_answer_the_close_is_gone(server, alice):
    """Presence at once, the application some seconds later."""
    async with server.client(alice.ws_token()) as client:
        await client.subscribed()
        client.socket.transport.pause_reading()
        await alice.ws_adisconnect()
        assert await leaves(alice) < 3
        await until(lambda: "application ended" in server.log)
        client.socket.transport.abort()
    assert server.tracebacks == 0


async def test_who_does_not_read_is_cut_off(server, alice):
    """Memory is bounded, presence is left at once, the application ends."""
    async with server.client(alice.ws_token()) as client:
        await client.subscribed()
        client.socket.transport.pause_reading()
        memory = server.memory_bytes

        async def is_cut_off():
            await apublish([alice], "x" * 500_000)
            return "was cut off" in server.log

        await until(is_cut_off)
        assert await leaves(alice) < 3
        await until(lambda: "application ended" in server.log)
        assert server.memory_bytes < memory + 50_000_000
        client.socket.transport.abort()
    assert server.tracebacks == 0


async def test_sigterm(server, alice):
    """The client is told to come back, and presence is off within some seconds."""
    async with server.client(alice.ws_token()) as client:
        await client.subscribed()
        server.terminate()
        code = await client.closed()
        assert await leaves(alice) < 5
        assert code == CODES[type(server)]
    assert await sync_to_async(server.wait)() is not None


async def test_while_it_stops_it_takes_no_connections(server, alice, bob):
    """One that doesn't answer makes the end take its time; who comes back must not meet it."""
    mute, other = server.client(alice.ws_token()), server.client(bob.ws_token())
    async with mute, other:
        await mute.subscribed()
        await other.subscribed()
        mute.socket.transport.pause_reading()
        server.terminate()
        await other.closed()
        with pytest.raises((OSError, InvalidHandshake)):
            await server.client(bob.ws_token()).__aenter__()
        mute.socket.transport.abort()


def test_the_table():
    """It has a column for each server, with the code that each sends at its end."""
    page = (ROOT / "docs/servers.md").read_text()
    head, row = (
        re.search(pattern, page, re.M)[0].split("|")[2:-1]
        for pattern in (r"^\| \| daphne.*$", r"^\| SIGTERM: the client gets.*$")
    )
    names = [cell.strip().split()[0] for cell in head]
    assert names == ["daphne", "behind", "uvicorn", "hypercorn", "granian"]
    expected = [
        CODES[each] for each in (PlainDaphne, NginxTcp, UvicornWebsockets, Hypercorn, Granian)
    ]
    assert [int(cell) for cell in row] == expected
