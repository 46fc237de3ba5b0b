"""At least 20,000 random frames by bare sockets; the seed makes them the same in every run."""

import asyncio
import json
import random

import pytest

from bazis_ws_channels import presence
from tests.kit import Client
from tests.kit.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame
from tests.sessions.forging import claims, forge, sign

CONNECTIONS, FRAMES = 110, 200
LIMITLESS = {
    "BAZIS_WS_FRAMES_PER_SECOND": 10**6,
    "BAZIS_WS_FRAMES_BURST": 10**6,
    "BAZIS_WS_MAX_BAD_MESSAGES": 10**6,
}
WORDS = [
    *("type", "token", "users", "ping", "watch", "unwatch", "data", "ws.push", "ws.end", "_x"),
    *("", "a.b.c", "user_ws.1", "common", "\u0000", "é", "😀", None, True, 0, -1, 1.5, 10**30),
]


@pytest.fixture(scope="module")
def open_server(servers):
    """A server that closes nobody for sending too much, so that the frames are all looked at."""
    return servers(**LIMITLESS)


def value(chance, depth=0):
    """Return a random JSON value made of the protocol's words."""
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice(WORDS)
    if kind < 0.7:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    keys = [chance.choice(["type", "token", "users", "x"]) for _ in range(chance.randrange(4))]
    return {key: value(chance, depth + 1) for key in keys}


def message(chance, users):
    """Return a message that is almost one of the protocol."""
    return chance.choice(
        [
            lambda: {"type": "ping"},
            lambda: {"type": chance.choice(["watch", "unwatch"]), "users": chance.sample(users, 2)},
            lambda: {"type": chance.choice(["watch", "unwatch"]), "users": value(chance)},
            lambda: {
                "token": sign(chance.choice(["fuzz", "nobody"]), exp=chance.choice([1, 2**33]))
            },
            lambda: {"token": forge({"alg": value(chance)}, claims(value(chance)))},
            lambda: {"token": value(chance)},
            lambda: {"type": value(chance)},
            lambda: value(chance),
        ]
    )()


def mutated(chance, text):
    """Return the bytes of a text, some of them changed; still UTF-8, or the server hangs up."""
    letters = list(text)
    for _ in range(chance.randrange(3)):
        letters[chance.randrange(len(letters))] = chance.choice('"{}[]:,\\ \x00\x7fé0-eE')
    return "".join(letters).encode()


def lawful(chance, users):
    """Yield the bytes of one frame or of a fragmented message that RFC 6455 allows."""
    kind = chance.random()
    if kind < 0.1:
        return frame(BINARY, chance.randbytes(chance.choice([0, 1, 125, 126, 3000])))
    if kind < 0.15:
        return frame(chance.choice([PING, PONG]), chance.randbytes(chance.randrange(126)))
    text = mutated(chance, json.dumps(message(chance, users)))
    if kind < 0.3:
        cut = chance.randrange(len(text) + 1)
        control = frame(PING, b"between") if chance.random() < 0.5 else b""
        return frame(TEXT, text[:cut], fin=False) + control + frame(CONTINUATION, text[cut:])
    return frame(TEXT, text)


def unlawful(chance):
    """Return bytes that RFC 6455 forbids; the server may hang up at any of them."""
    noise = chance.randbytes(chance.randrange(1, 100))
    return chance.choice(
        [
            lambda: noise,
            lambda: frame(TEXT, noise),
            lambda: frame(TEXT, noise, masked=False),
            lambda: frame(chance.randrange(16), noise, rsv=chance.randrange(8)),
            lambda: frame(chance.choice([3, 7, 11, 15]), noise),
            lambda: frame(CONTINUATION, noise),
            lambda: frame(PING, bytes(126)),
            lambda: frame(PING, noise, fin=False),
            lambda: frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
            lambda: frame(CLOSE, chance.choice([b"", b"\x03", noise, b"\x03\xe8", b"\x00\x00"])),
            lambda: frame(TEXT, b"", length=chance.choice([2**20 + 1, 2**40, 2**63, 2**64 - 1])),
            lambda: frame(TEXT, noise, length=len(noise) + 1),
        ]
    )()


def send_lawful(server, seed, token, users):
    """Send lawful frames over one connection; all must be answered up to the last."""
    chance = random.Random(seed)
    mark = f"end{seed}"
    with RawSocket(server.ws, token) as client:
        for _ in range(0, FRAMES, 50):
            client.socket.sendall(b"".join(lawful(chance, users) for _ in range(50)))
        client.text(json.dumps({"type": mark}))
        assert client.read_until(mark.encode()), f"seed {seed}: the server hung up"


def send_unlawful(server, seed, token):
    """Send frames, lawful and not, until the server hangs up or the connection is dropped."""
    chance = random.Random(seed)
    with RawSocket(server.ws, token) as client:
        try:
            client.text(json.dumps({"type": "ping"}))
            for _ in range(chance.randrange(1, 6)):
                client.socket.sendall(unlawful(chance))
        except ConnectionError:
            pass  # it hung up, as it may


def storm(server, token, users):
    """Send all frames."""
    for seed in range(CONNECTIONS):
        send_lawful(server, seed, token, users)
        for other in range(3):
            send_unlawful(server, f"{seed}.{other}", token)


async def test_fuzz(open_server, alice, bob, fuzz_user):
    """The server stays up and logs no traceback; a bystander sees its own messages alone."""
    assert CONNECTIONS * FRAMES >= 20_000
    async with Client(open_server.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        users = [bob.pk, alice.pk, fuzz_user.pk, 10**9]
        storming = asyncio.create_task(
            asyncio.to_thread(storm, open_server, fuzz_user.ws_token(), users)
        )
        published = 0
        while not storming.done():
            assert await bob.ws_apublish(published) == 1
            assert await bystander.data() == published
            published += 1
        await storming
        assert await bystander.settle() == []
        assert [each["type"] for each in bystander.seen] == [
            "subscribed",
            *["data"] * published,
            "pong",
        ]
        assert await presence.aonline([alice, bob]) == {bob.pk}
    assert open_server.process.poll() is None
    assert open_server.tracebacks == 0
    assert "internal_error" not in open_server.log
    assert "A connection failed" not in open_server.log


@pytest.fixture
def fuzz_user(make_user):
    """The user whose connections misbehave."""
    return make_user("fuzz")
