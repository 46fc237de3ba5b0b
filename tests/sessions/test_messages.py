"""Bad input: each kind gets the contract's answer, and nobody else notices."""

import json

import pytest
from asgiref.sync import sync_to_async

from tests.kit import Client
from tests.kit.raw import BINARY, CONTINUATION, TEXT, RawSocket, frame

NESTED = "[" * 2000 + "]" * 2000

BAD = {
    "no JSON": "{",
    "a word": "hello",
    "an array": '["type"]',
    "a number": "5",
    "a huge number": "9" * 5000,
    "a string": '"ping"',
    "null": "null",
    "true": "true",
    "NaN": "NaN",
    "empty": "",
    "a space": " ",
    "an empty object": "{}",
    "binary": b'{"type": "ping"}',
    "empty binary": b"",
    "binary beyond UTF-8": b"\xff\xfe\x00",
    "a byte order mark": '\ufeff{"type": "ping"}',
    "type a number": '{"type": 5}',
    "type null": '{"type": null}',
    "type a list": '{"type": ["ping"]}',
    "type empty": '{"type": ""}',
    "type private": '{"type": "_private"}',
    "type of the channel layer": '{"type": "ws.message"}',
    "type of an event of ours": '{"type": "ws.push", "group": "common", "text": "{}"}',
    "type of the end": '{"type": "ws.end", "group": "user_ws.1", "code": "x", "detail": ""}',
    "type of the end, underscored": '{"type": "ws_end"}',
    "type of ASGI": '{"type": "websocket.disconnect", "code": 1000}',
    "type dunder": '{"type": "__class__"}',
    "type a method": '{"type": "close"}',
    "type in capitals": '{"type": "PING"}',
    "type with a newline": '{"type": "ping\\n"}',
    "type with a space": '{"type": "ping "}',
    "type with a null": '{"type": "ping\\u0000"}',
    "type a lone surrogate": '{"type": "\\ud800"}',
    "type long": json.dumps({"type": "a" * 5000}),
    "type from the server": '{"type": "data", "data": {}}',
    "token null": '{"token": null}',
    "token a number": '{"token": 5}',
    "token an object": '{"token": {}}',
    "token a list": '{"token": ["a.b.c"]}',
    "nested array": NESTED,
    "nested in a field": f'{{"type": {NESTED}}}',
    "nested token": f'{{"token": {NESTED}}}',
    "watch without users": '{"type": "watch"}',
    "watch a number": '{"type": "watch", "users": 5}',
    "watch a string": '{"type": "watch", "users": "15"}',
    "watch an object": '{"type": "watch", "users": {"5": true}}',
    "watch null": '{"type": "watch", "users": [null]}',
    "watch true": '{"type": "watch", "users": [true]}',
    "watch a fraction": '{"type": "watch", "users": [1.5]}',
    "watch a word": '{"type": "watch", "users": ["bob"]}',
    "watch an empty string": '{"type": "watch", "users": [""]}',
    "watch a lone surrogate": '{"type": "watch", "users": ["\\ud800"]}',
    "watch a null character": '{"type": "watch", "users": ["\\u0000"]}',
    "watch 5,000 digits": json.dumps({"type": "watch", "users": ["9" * 5000]}),
    "watch a list": '{"type": "watch", "users": [[1]]}',
    "watch nested": f'{{"type": "watch", "users": {NESTED}}}',
    "unwatch without users": '{"type": "unwatch"}',
    "unwatch a word": '{"type": "unwatch", "users": ["bob"]}',
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_message(server, alice, bob, name):
    """The sender gets `bad_message` and keeps the session; a bystander notices nothing."""
    before = server.tracebacks
    async with (
        Client(server.ws, bob.ws_token()) as bystander,
        Client(server.ws, alice.ws_token()) as client,
    ):
        await bystander.subscribed()
        await client.subscribed()
        await client.send(BAD[name])
        answer = await client.receive()
        assert (answer["type"], answer["code"]) == ("error", "bad_message")
        assert isinstance(answer["detail"], str)
        assert len(answer["detail"]) < 200
        await alice.ws_apublish("still here")
        assert await client.data() == "still here"
        assert await bystander.settle() == []
    assert server.tracebacks == before


async def test_bad_messages_before_a_session(server):
    """Without a session the answers are the same, each in its turn."""
    bad = [message for name, message in BAD.items() if "watch" not in name]
    for start in range(0, len(bad), 15):
        async with Client(server.ws) as client:
            for message in bad[start : start + 15]:
                await client.send(message)
                assert (await client.receive())["code"] == "bad_message", message
            assert await client.settle() == []


@pytest.mark.parametrize("users", [[10**30], [-(10**30)], [0], [str(2**64)], [-1]])
async def test_watching_a_number_that_is_nobodys(server, alice, users):
    """A number that no user can have is watched like anybody who is never online, or is bad."""
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": users})
        answer = await client.receive()
        assert answer["type"] == "presence" or answer["code"] == "bad_message"
        assert answer.get("is_online", False) is False


@pytest.mark.parametrize("extra", [{"id": 5}, {"users": 5}, {"token": "a.b.c"}])
async def test_unknown_fields_are_ignored(server, alice, extra):
    """A field that a type doesn't know is no error."""
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "ping", **extra})
        assert (await client.receive())["type"] == "pong"


async def test_session_needed(server):
    """`watch` and `unwatch` need a session; a ping doesn't."""
    async with Client(server.ws) as client:
        for kind in ("watch", "unwatch"):
            await client.send({"type": kind, "users": [1]})
            assert (await client.receive())["code"] == "not_authenticated"
        assert await client.settle() == []


async def test_forbidden_watch(server, make_user):
    """A watch that the project doesn't allow gets `forbidden`; the socket stays open."""
    eve, other = [await sync_to_async(make_user)(name, watches="none") for name in ("eve", "other")]
    async with Client(server.ws, eve.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": [other.pk]})
        assert (await client.receive())["code"] == "forbidden"
        assert await client.settle() == []


async def test_fragmented_message(server):
    """A message in fragments is one message; one over the limit is over the limit."""
    with RawSocket(server.ws) as client:
        parts = [b'{"type"', b': "pi', b'ng"}']
        client.socket.sendall(
            frame(TEXT, parts[0], fin=False)
            + frame(CONTINUATION, parts[1], fin=False)
            + frame(CONTINUATION, parts[2])
        )
        assert client.read_until(b'{"type": "pong"}')
        part = b" " * 20_000
        client.socket.sendall(
            frame(TEXT, part, fin=False)
            + frame(CONTINUATION, part, fin=False) * 2
            + frame(CONTINUATION, part)
        )
        assert client.close_code() == 4413


@pytest.mark.parametrize("kind", ["text", "binary"])
async def test_frame_over_the_limit(server, alice, bob, kind):
    """A frame over the limit gets `message_too_big` and 4413; others stay."""
    async with Client(server.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        async with Client(server.ws, alice.ws_token()) as client:
            await client.subscribed()
            message = json.dumps({"type": "ping", "padding": "x" * 65536})
            await client.send(message if kind == "text" else message.encode())
            assert (await client.receive())["code"] == "message_too_big"
            assert await client.closed() == 4413
        assert await bystander.settle() == []


async def test_limit_counts_bytes(server):
    """The limit is in bytes, not in characters."""
    async with Client(server.ws) as client:
        fits = json.dumps({"type": "ping", "padding": "é" * 30_000}, ensure_ascii=False)
        await client.send(fits)
        assert (await client.receive())["type"] == "pong"
        await client.send(json.dumps({"type": "ping", "p": "é" * 33_000}, ensure_ascii=False))
        assert (await client.receive())["code"] == "message_too_big"


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_frame_beyond_the_servers_own_limit(server, bob, opcode):
    """daphne drops a frame of over 1 MiB with its connection; others stay."""
    before = server.tracebacks
    async with Client(server.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        with RawSocket(server.ws) as client:
            client.socket.sendall(frame(opcode, b"", length=2**21))
            assert client.close_code() in (None, 1009)
        assert await bystander.settle() == []
    assert server.tracebacks == before
