"""The in-process client of the test kit, against applications that do what the test says."""

import asyncio
import json

import pytest
from django.core.exceptions import ImproperlyConfigured

from bazis_ws_channels.testing import WsClient, link
from tests.kit import until
from tests.sessions.forging import rsa_pair

SUBSCRIBED = {"type": "subscribed", "user": 1, "expires_in": 900}


class Application:
    """An ASGI application: accepts, sends, answers pings, until the client goes.

    Attributes:
        scope: what it was called with.
        heard: the frames that came.
        ended: whether it came to its end.
    """

    def __init__(self, *messages, accepts=True, pongs=True, closes=None):
        self.messages, self.accepts, self.pongs, self.closes = messages, accepts, pongs, closes
        self.heard, self.ended = [], False

    async def __call__(self, scope, receive, send):
        """Serve one connection."""
        self.scope, self.send = scope, send
        assert (await receive())["type"] == "websocket.connect"
        if self.accepts:
            await send({"type": "websocket.accept"})
        for message in self.messages:
            await self.say(message)
        if self.closes is not None:
            await send({"type": "websocket.close", "code": self.closes})
        while (event := await receive())["type"] == "websocket.receive":
            self.heard.append(event.get("text") or event["bytes"])
            if self.pongs and event.get("text") == '{"type": "ping"}':
                await self.say({"type": "pong"})
        self.ended = True

    async def say(self, message):
        """Send a message."""
        kind = "bytes" if isinstance(message, bytes) else "text"
        frame = message if isinstance(message, bytes) else json.dumps(message)
        await self.send({"type": "websocket.send", kind: frame})


@pytest.fixture
def lose_patience(monkeypatch):
    """From now on wait for nothing: what is expected next doesn't come."""
    return lambda: monkeypatch.setattr(link, "PATIENCE_SECONDS", 0.02)


def number(value):
    """Return a published number."""
    return {"type": "data", "data": value}


# --- messages -------------------------------------------------------------------------------


async def test_messages_come_in_order():
    """By type, others before it are passed by; all of them are kept."""
    application = Application(number(1), {"type": "presence"}, number(2), number(3), b"bytes")
    async with WsClient(application) as client:
        assert await client.receive() == number(1)
        assert await client.receive("data") == number(2)
        assert await client.receive_data() == 3
        assert await client.receive() == {"bytes": b"bytes"}
        assert len(client.messages) == 5
        assert (client.subscribed, client.closed_with) == (None, None)
    assert application.ended


async def test_a_message_is_waited_for():
    """It may be on its way."""
    application = Application()
    async with WsClient(application) as client:
        waiting = asyncio.ensure_future(client.receive_data())
        await asyncio.sleep(0)
        await application.say(number(5))
        assert await waiting == 5


async def test_what_is_sent():
    """Objects as JSON, text and bytes as they are."""
    application = Application()
    async with WsClient(application) as client:
        for message in ({"type": "ping"}, "no json", b"\x00"):
            await client.send(message)
        assert await client.receive() == {"type": "pong"}
    assert application.heard == ['{"type": "ping"}', "no json", b"\x00"]


async def test_what_does_not_come_is_an_error_that_says_what_did(lose_patience):
    """The messages that were passed by."""
    async with WsClient(Application(number(1), number(2))) as client:
        await until(lambda: len(client.messages) == 2)
        lose_patience()
        with pytest.raises(AssertionError) as caught:
            await client.receive("presence")
        assert str(caught.value).splitlines() == [
            "Expected a message of type 'presence'. What came:",
            '  {"type": "data", "data": 1}',
            '  {"type": "data", "data": 2}',
        ]
        with pytest.raises(AssertionError, match=r"^Expected a message\. Nothing came\.$"):
            await client.receive()


@pytest.mark.parametrize("pongs", [True, False])
async def test_nothing_comes(pongs, lose_patience):
    """Nor is anything on its way, as the answer to a ping shows; it is then taken off again."""
    async with WsClient(Application(number(1), pongs=pongs)) as client:
        await client.receive_data()
        if not pongs:
            lose_patience()
        await client.receive_nothing()
        assert not client._link.unread


async def test_something_comes_where_nothing_should():
    """The error shows it."""
    async with WsClient(Application(number(1))) as client:
        with pytest.raises(AssertionError, match=r"Expected nothing\. [\s\S]*\"data\": 1"):
            await client.receive_nothing()
        await client.receive_data()
        await client.receive_nothing()


# --- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "seen"), [(4401, 4401), (None, 1000)])
async def test_the_server_closes(code, seen):
    """With its code; what came before can be looked at still, and nothing comes after it."""
    application = Application(number(1), closes=code if code is not None else 0)
    async with WsClient(application) as client:
        assert await client.wait_closed() == seen
        assert client.closed_with == seen
        await application.say(number(2))
        await application.send({"type": "websocket.close", "code": 4500})
        assert client.closed_with == seen
        assert await client.receive_data() == 1
        await client.receive_nothing()
        with pytest.raises(AssertionError, match=f"Nothing came. The server closed with {seen}"):
            await client.receive()


async def test_the_server_does_not_close(lose_patience):
    """Says what came."""
    async with WsClient(Application(number(1))) as client:
        await until(lambda: client.messages)
        lose_patience()
        with pytest.raises(AssertionError, match=r"Expected the server to close\.[\s\S]*: 1"):
            await client.wait_closed()


async def test_an_application_that_fails():
    """Its own error says most."""

    async def fail(scope, receive, send):
        await send({"type": "websocket.accept"})
        await receive()
        raise LookupError("a bug of the project")

    async with WsClient(fail) as client:
        with pytest.raises(LookupError, match="a bug of the project"):
            await client.receive()


async def test_an_application_that_fails_before_it_accepts():
    """The client is not opened, and nothing is left."""

    async def fail(scope, receive, send):
        raise LookupError("no route")

    with pytest.raises(LookupError, match="no route"):
        async with WsClient(fail):
            pass


async def test_an_application_that_ends_without_a_word():
    """Nothing more can come, and nobody waits for it."""

    async def leave(scope, receive, send):
        await send({"type": "websocket.accept"})

    async with WsClient(leave) as client:
        with pytest.raises(AssertionError, match="Nothing came"):
            await client.receive()


async def test_an_application_that_never_accepts(lose_patience):
    """Says so."""
    lose_patience()
    with pytest.raises(AssertionError, match="Expected the application to accept the connection"):
        async with WsClient(Application(accepts=False)):
            pass


async def test_an_application_that_does_not_end_is_cancelled(lose_patience):
    """A test doesn't hang at its end."""
    ends = []

    async def stay(scope, receive, send):
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")

    async with WsClient(stay):
        lose_patience()
    assert ends == ["cancelled"]


async def test_a_link_that_was_not_opened_is_closed_without_a_word():
    """There is nobody to tell."""
    await link.Link().close()


async def test_an_application_that_was_cancelled_sends_nothing_more():
    """That is no error of its own."""
    one = link.Link()
    one.open(Application(), {})
    one._task.cancel()
    await asyncio.wait({one._task})
    await one.more()  # its end is news, once
    with pytest.raises(ConnectionError):
        await one.more()
    await one.close()


# --- the handshake --------------------------------------------------------------------------


async def test_the_scope_is_that_of_a_browser_on_the_own_page():
    """With the own headers in place of those, in lower case."""
    application = Application()
    async with WsClient(application, path="/räume/", headers=[("Host", "shop"), ("X-Id", "5")]):
        pass
    scope = application.scope
    assert (scope["type"], scope["path"], scope["query_string"]) == ("websocket", "/räume/", b"")
    assert scope["raw_path"] == b"/r%C3%A4ume/"
    assert scope["headers"] == [
        (b"origin", b"http://testserver"),
        (b"host", b"shop"),
        (b"x-id", b"5"),
    ]
    assert scope["subprotocols"] == []


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        (None, b"http://testserver"),
        ([], b"http://testserver"),
        (["https://shop.example", "*"], b"http://testserver"),
        (["https://shop.example"], b"https://shop.example"),
        (["https://*.shop.example"], b"https://www.shop.example"),
    ],
)
async def test_the_origin_is_one_that_the_project_allows(settings, allowed, origin):
    """Whatever it has set."""
    settings.BAZIS_WS_ALLOWED_ORIGINS = allowed
    application = Application()
    async with WsClient(application):
        pass
    assert dict(application.scope["headers"])[b"origin"] == origin


@pytest.mark.django_db  # channels looks after a connection that another test may have left
async def test_the_application_of_the_project_by_default(settings):
    """That of ``ASGI_APPLICATION``: here it refuses another site's page."""
    async with WsClient(headers=[("Origin", "https://evil.example")]) as client:
        assert client.closed_with == 403


# --- signing in -----------------------------------------------------------------------------


async def test_a_user_signs_in_by_a_token_of_its_own(make_user):
    """In the subprotocols, as a browser sends it; the answer is an attribute."""
    application = Application(SUBSCRIBED, number(1))
    async with WsClient(application, user=make_user(1)) as client:
        assert client.subscribed == SUBSCRIBED
        assert await client.receive_data() == 1
    name, token = application.scope["subprotocols"]
    assert name == "bazis-ws"
    assert token.count(".") == 2


async def test_a_token_is_sent_as_it_is():
    """The answer to it can be looked at, if it is an error."""
    error = {"type": "error", "code": "invalid_token"}
    application = Application(error, number(1))
    async with WsClient(application, token="wrong") as client:
        assert client.subscribed is None
        assert await client.receive() == error
        assert await client.receive_data() == 1
    assert application.scope["subprotocols"] == ["bazis-ws", "wrong"]


@pytest.mark.parametrize(
    ("code", "hint"),
    [("user_not_found", "doesn't see this test's transaction"), ("expired_token", "")],
)
async def test_a_user_who_is_refused(make_user, code, hint):
    """Fails at once, says why, and what to look at."""
    application = Application({"type": "error", "code": code})
    with pytest.raises(AssertionError, match=f"user1 could not sign in: .*{code}.*{hint}"):
        async with WsClient(application, user=make_user(1)):
            pass
    assert application.ended


async def test_a_user_whose_handshake_is_refused(make_user):
    """There is no answer to say why."""
    application = Application(accepts=False, closes=4000)
    with pytest.raises(AssertionError, match=r"None\. The handshake was refused"):
        async with WsClient(application, user=make_user(1)):
            pass


async def test_a_token_whose_handshake_is_refused():
    """The test looks at the code."""
    async with WsClient(Application(accepts=False, closes=4000), token="t") as client:
        assert client.closed_with == 403
        assert client.subscribed is None


async def test_tokens_that_the_project_cannot_make(settings, make_user):
    """Says what to set."""
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = "RS256", rsa_pair()[1]
    with pytest.raises(ImproperlyConfigured, match="In tests, set BAZIS_JWT_SESSION_ALG"):
        async with WsClient(Application(), user=make_user(1)):
            pass
