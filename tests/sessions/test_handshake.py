"""Four ways to bring a token, their order, and what the server answers."""

import itertools

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.conf import settings
from django.test import AsyncClient

from bazis_ws_channels import middleware
from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.routing import websocket_urlpatterns
from bazis_ws_channels.testing import WsClient
from tests.kit import Client
from tests.sessions.forging import sign


def brought(token, way):
    """Return the options of a `Client` that brings the token in one way."""
    return {
        "query": {"token": token},
        "subprotocol": {"subprotocols": ["bazis-ws", token]},
        "header": {"additional_headers": {"Authorization": f"Bearer {token}"}},
    }[way]


def together(*options):
    """Merge the options of several ways."""
    return {key: value for each in options for key, value in each.items()}


async def session_cookie(user):
    """Log a user into Django; return the headers that a browser would then send."""
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies['sessionid'].value}"}


WAYS = ["query", "subprotocol", "header"]


@pytest.mark.parametrize("way", WAYS)
async def test_token_in_the_handshake(server, alice, way):
    """Each way opens the session of the token's user."""
    async with Client(server.ws, **brought(alice.ws_token(), way)) as client:
        assert (await client.subscribed())["user"] == alice.pk


async def test_token_as_a_message(server, alice):
    """A socket without a token is open, and a message with one opens the session."""
    async with Client(server.ws) as client:
        assert await client.settle() == []
        await client.send({"token": alice.ws_token()})
        assert (await client.subscribed())["user"] == alice.pk


async def test_subprotocol_answer(server, alice):
    """The server answers with `bazis-ws` where it was offered, never with the token."""
    async with Client(server.ws, **brought(alice.ws_token(), "subprotocol")) as client:
        assert client.socket.subprotocol == "bazis-ws"
        assert client.socket.response.headers["Sec-WebSocket-Protocol"] == "bazis-ws"
    async with Client(server.ws, subprotocols=["bazis-ws"]) as client:
        assert client.socket.subprotocol == "bazis-ws"
    async with Client(server.ws, subprotocols=["chat", alice.ws_token()]) as client:
        assert client.socket.subprotocol is None
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive())["code"] == "not_authenticated"


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer  {} "])
async def test_scheme_of_the_header(server, alice, header):
    """The scheme's case and the spaces around the token don't matter (RFC 9110, section 11.1)."""
    headers = {"Authorization": header.format(alice.ws_token())}
    async with Client(server.ws, additional_headers=headers) as client:
        assert (await client.subscribed())["user"] == alice.pk


async def test_another_scheme_is_not_ours(server, alice):
    """An Authorization header of another scheme, as a proxy may add it, is ignored."""
    headers = {"Authorization": "Basic YWxpY2U6ZGVtbw=="}
    async with Client(server.ws, alice.ws_token(), additional_headers=headers) as client:
        assert (await client.subscribed())["user"] == alice.pk


async def test_the_same_token_several_times(server, alice):
    """The same token in all places is one token."""
    token = alice.ws_token()
    options = together(*(brought(token, way) for way in WAYS))
    async with Client(server.ws, **options) as client:
        assert (await client.subscribed())["user"] == alice.pk


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(WAYS, 2)))
async def test_different_tokens_are_refused(server, alice, bob, one, other):
    """Two tokens in one handshake are refused: whose session it should be can't be known."""
    options = together(brought(alice.ws_token(), one), brought(bob.ws_token(), other))
    async with Client(server.ws, **options) as client:
        assert (await client.receive())["code"] == "invalid_token"
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive())["code"] == "not_authenticated"


async def test_two_tokens_in_the_query_are_refused(server, alice, bob):
    """A query with two tokens is refused too."""
    url = f"{server.ws}?token={alice.ws_token()}&token={bob.ws_token()}"
    async with Client(url) as client:
        assert (await client.receive())["code"] == "invalid_token"


async def test_django_session(server, alice):
    """If no token was sent, the session of an outer `AuthMiddlewareStack` counts."""
    async with Client(server.ws, additional_headers=await session_cookie(alice)) as client:
        message = await client.subscribed()
        assert message["user"] == alice.pk
        assert 0 <= settings.SESSION_COOKIE_AGE - message["expires_in"] < 60


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_counts_before_the_django_session(server, alice, bob, way):
    """The Django session is last in order: a token decides."""
    cookie = {"additional_headers": await session_cookie(alice)}
    options = brought(bob.ws_token(), way)
    headers = cookie["additional_headers"] | options.pop("additional_headers", {})
    async with Client(server.ws, **options, additional_headers=headers) as client:
        assert (await client.subscribed())["user"] == bob.pk


async def test_a_bad_token_does_not_fall_back(server, alice):
    """A bad token is an error even where a Django session would do."""
    headers = await session_cookie(alice)
    async with Client(server.ws, "a.b.c", additional_headers=headers) as client:
        assert (await client.receive())["code"] == "invalid_token"
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive())["code"] == "not_authenticated"


async def test_django_session_of_an_inactive_user(server, alice):
    """The Django session of a user who is inactive by now opens nothing."""
    headers = await session_cookie(alice)
    alice.is_active = False
    await alice.asave()
    async with Client(server.ws, additional_headers=headers) as client:
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive())["code"] == "not_authenticated"


@pytest.mark.parametrize("way", WAYS)
async def test_no_token_is_logged(server, alice, way):
    """No token, good, expired or bad, stands in the server's log; paths do."""
    tokens = [alice.ws_token(), sign("alice", exp=1), "bad.forgery.really"]
    for token in tokens:
        async with Client(server.ws, **brought(token, way)) as client:
            await client.receive()
            await client.send({"token": token})
            await client.settle()
    assert "WSCONNECT /ws" in server.log
    for token in tokens:
        assert not any(part in server.log for part in token.split(".") if len(part) > 4)


async def test_a_cookie_that_nobody_looks_at(caplog, monkeypatch, settings):
    """Is told once: what must be written for it to sign in, or that a token is awaited."""
    monkeypatch.setattr(middleware, "_has_mentioned_cookie", False)
    settings.BAZIS_WS_AUTH_TIMEOUT = 0.05
    application = JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    for _ in range(3):
        async with WsClient(application, headers=[("Cookie", "a=b; sessionid=abc")]) as client:
            assert await client.wait_closed() == 4401
    mentions = [each for each in caplog.records if "AuthMiddlewareStack(" in each.message]
    assert len(mentions) == 1
    assert "abc" not in caplog.text


async def test_a_cookie_beside_a_token(caplog, monkeypatch, alice):
    """Or without one of a session, is as it should be."""
    monkeypatch.setattr(middleware, "_has_mentioned_cookie", False)
    application = JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    async with WsClient(application, user=alice, headers=[("Cookie", "sessionid=abc")]):
        pass
    async with WsClient(application, headers=[("Cookie", "a=b")]):
        pass
    assert "AuthMiddlewareStack(" not in caplog.text


async def test_clients_that_offer_compression(daphne, alice):
    """As every browser does: the first, and those after it."""
    server = daphne()
    for _ in range(3):
        async with Client(server.ws, alice.ws_token(), compression="deflate") as client:
            await client.subscribed()
