"""What a client sends costs its own socket, before it is queued: against real servers."""

import asyncio
import contextlib
import itertools
import json
import select
import threading
import time

import pytest

from bazis_ws_channels.connection.limits import cost_of
from tests.kit import Client, Daphne, RawSocket, Uvicorn, until
from tests.kit.raw import BINARY, CONTINUATION, PING, PONG, TEXT, frame
from tests.servers import processes

MIB = 2**20
SETTINGS = {"BAZIS_WS_AUTH_TIMEOUT": 120, "BAZIS_WS_MAX_FRAME_BYTES": 65536}


class UvicornWebsockets(Uvicorn):
    """uvicorn with the older implementation by `websockets`."""

    implementation = "websockets"


class UvicornWsproto(Uvicorn):
    """uvicorn with `wsproto`."""

    implementation = "wsproto"


class UvicornUvloop(Uvicorn):
    """uvicorn on uvloop."""

    loop = "uvloop"


KINDS = [
    Daphne,
    Uvicorn,
    *(
        pytest.param(kind, marks=pytest.mark.servers)
        for kind in (UvicornWebsockets, UvicornWsproto, UvicornUvloop)
    ),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def patient(request, servers):
    """A server whose sockets may stay without a token for long."""
    return servers(request.param, **SETTINGS)


@pytest.fixture(
    scope="module",
    params=[
        processes.UvicornSansio,
        processes.UvicornWebsockets,
        pytest.param(processes.UvicornWsproto, marks=pytest.mark.servers),
    ],
    ids=lambda kind: kind.__name__,
)
def direct(request, servers):
    """A server that meets our middleware first."""
    return servers(request.param, **SETTINGS)


@contextlib.contextmanager
def sending(client, chunks):
    """Send chunks from a thread for as long as the server takes them."""

    def send():
        with contextlib.suppress(OSError):
            for chunk in chunks:
                client.socket.sendall(chunk)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        client.close()
        thread.join(10)


async def test_fragments_of_one_message_are_one_budget(patient):
    """A message in fragments is refused as soon as it is over the limit, not when it ends."""
    with RawSocket(patient.ws) as client:
        client.socket.sendall(frame(TEXT, b"x" * 40_000, fin=False))
        client.socket.sendall(frame(CONTINUATION, b"x" * 40_000, fin=False))
        assert await asyncio.to_thread(client.close_code) == 4413


async def test_a_frame_is_refused_by_its_announced_length(patient):
    """Nothing is held of a frame that says that it will be too big."""
    with RawSocket(patient.ws) as client:
        client.socket.sendall(frame(BINARY, b"", length=70_000))
        assert await asyncio.to_thread(client.close_code) == 4413


async def test_endless_fragments(patient):
    """Neither tiny nor empty fragments go on for ever."""
    for payload in (b"", b"xx"):
        with RawSocket(patient.ws) as client:
            first = frame(TEXT, b"x", fin=False)
            client.socket.sendall(first + frame(CONTINUATION, payload, fin=False) * 2000)
            assert await asyncio.to_thread(client.close_code) in (4413, 4429)


async def test_a_message_in_a_few_fragments(patient):
    """Fragments within the limits are a message as any other."""
    with RawSocket(patient.ws) as client:
        parts = [b'{"ty', b'pe": "p', b'ing"}']
        client.socket.sendall(
            frame(TEXT, parts[0], fin=False)
            + frame(CONTINUATION, parts[1], fin=False)
            + frame(PING, b"between")
            + frame(CONTINUATION, parts[2])
        )
        answers = [await asyncio.to_thread(client.message) for _ in range(2)]
        assert answers == [(PONG, b"between"), (TEXT, b'{"type": "pong"}')]


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_control_frames_count(patient, opcode):
    """A flood of pings or pongs is closed with 4429, and few of them are answered."""
    with RawSocket(patient.ws) as client:
        with contextlib.suppress(OSError):
            client.socket.sendall(frame(opcode, b"x" * 100) * 2000)
        seen = await asyncio.to_thread(list, client.messages())
        codes = [json.loads(payload)["code"] for kind, payload in seen if kind == TEXT]
        assert codes == ["rate_limited"] * 2
        assert sum(kind == PONG for kind, _ in seen) < 200


async def test_a_flood_right_behind_the_handshake(direct):
    """Pings before the answer, which no honest client sends, are no way around the budget."""
    request = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{direct.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", direct.port)
    writer.write(request.encode())  # the server may have read it before the rest comes, or not
    writer.write(frame(PING) * 20_000)
    answers, has_asked = b"", False
    with contextlib.suppress(ConnectionError):
        while b'"pong"' not in answers and (more := await reader.read(65536)):
            answers += more
            if b" 101 " in answers and not has_asked:
                # The server may have dropped all that came with the request itself.
                writer.write(frame(TEXT, b'{"type": "ping"}'))
                has_asked = True
    assert answers.count(frame(PONG, masked=False)) < 1000
    writer.transport.abort()


async def test_some_pings_are_answered(patient):
    """A client's own pings are answered one by one."""
    async with Client(patient.ws) as client:
        for _ in range(10):
            await (await client.socket.ping())


async def test_frames_wait_in_the_socket_while_the_server_is_busy(patient, alice, bob, redis):
    """While a method of the consumer waits, what comes stays in the client's own buffers."""
    sent = itertools.count()
    ping = frame(TEXT, b'{"type":"ping"}' + b" " * 60_000)
    chunks = (ping for _ in zip(range(2000), sent, strict=False))

    async def is_full():
        """Tell whether nothing more went out while the server's event loop had a turn."""
        before = repr(sent)
        assert await bystander.settle() == []
        return repr(sent) == before and not is_writable(client.socket)

    path = f"ws://127.0.0.1:{patient.port}/project/"
    async with Client(patient.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        with RawSocket(path, alice.ws_token()) as client:
            client.subscribed()
            client.text('{"type": "slow_query", "until": "test.budgets"}')
            before = patient.memory_bytes
            with sending(client, chunks):
                for _ in range(10):
                    await until(is_full)
                assert patient.memory_bytes - before < 16 * MIB
                assert next(sent) < 1000
                redis.rpush("test.budgets", "go on")


def is_writable(link):
    """Tell whether a socket's buffers, here and at the other end, have room."""
    return bool(select.select([], [link], [], 0)[1])


async def test_integers_with_one_hash(patient, alice, bob):
    """A list of integers whose hashes are all the same costs nobody else's time."""
    users = [k * (2**61 - 1) for k in range(1, 2700)]
    text = json.dumps({"type": "watch", "users": users}, separators=(",", ":"))
    assert len(text) < 65536
    async with (
        Client(patient.ws, bob.ws_token()) as bystander,
        Client(patient.ws, alice.ws_token()) as client,
    ):
        await bystander.subscribed()
        await client.subscribed()
        await client.send(text)
        assert (await client.receive())["code"] in ("forbidden", "rate_limited")
        await client.send(json.dumps({"type": "watch", "users": users[:150]}))
        assert (await client.receive())["code"] == "bad_message"
        assert await bystander.settle() == []


async def test_ids_beyond_the_column_never_reach_the_project(patient, alice):
    """An id that the column can't hold is a bad message."""
    async with Client(patient.ws, alice.ws_token()) as client:
        await client.subscribed()
        for user in (2**63, -(2**63) - 1, 10**30):
            await client.send({"type": "watch", "users": [user]})
            assert (await client.receive())["code"] == "bad_message"


def test_cost():
    """A message costs what it makes the server do."""
    assert cost_of({"type": "ping"}) == 0
    assert cost_of({"token": "x"}) == 4
    assert cost_of({"type": "watch", "users": list(range(200))}) == 10
    assert cost_of({"type": "watch", "users": list(range(2000))}) == 10  # refused unread
    assert cost_of({"type": "watch", "users": "no list"}) == 0


async def test_renewals_cost_more_than_pings(patient, alice):
    """Who renews all the time is limited long before one who pings."""
    async with Client(patient.ws, alice.ws_token()) as client:
        await client.subscribed()
        token = alice.ws_token()
        for _ in range(40):
            await client.send({"token": token})
        assert (await client.receive_type("error"))["code"] == "rate_limited"
        assert sum(message["type"] == "subscribed" for message in client.seen) < 25


async def test_the_loop_is_there_for_others(patient, bob):
    """Twenty sockets with floods of all kinds leave a bystander's pings alone."""
    floods = (
        frame(PING) * 5000,
        frame(TEXT, b'{"type":"ping"}') * 3000,
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"xx", fin=False) * 4000,
    )
    async with Client(patient.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        crowd = [await asyncio.to_thread(RawSocket, patient.ws) for _ in range(20)]
        with contextlib.ExitStack() as stack:
            for number, each in enumerate(crowd):
                stack.enter_context(sending(each, [floods[number % 3]] * 20))
            for _ in range(20):
                started = time.monotonic()
                assert await bystander.settle() == []
                assert time.monotonic() - started < 3
    await until(lambda: patient.process.poll() is None)
