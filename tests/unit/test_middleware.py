"""Who a handshake is, and where it comes from."""

import asyncio

import pytest
from django.contrib.auth.models import AnonymousUser

from bazis_ws_channels import middleware
from bazis_ws_channels.exceptions import AuthenticationFailed, TokenError
from bazis_ws_channels.middleware import (
    JWTAuthMiddleware,
    JWTAuthMiddlewareStack,
    OriginMiddleware,
    tokens_in,
)


def scope(*headers, query="", subprotocols=(), **more):
    """Return a handshake's scope."""
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {
        "type": "websocket", "headers": pairs, "query_string": query.encode(),
        "subprotocols": list(subprotocols), **more,
    }  # fmt: skip


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handshake", "tokens"),
    [
        (scope(), []),
        (scope(query="token=a"), ["a"]),
        (scope(query="x=1&token=a%2Eb&y"), ["a.b"]),
        (scope(query="token=&token="), []),
        (scope(query="token=a&token=a"), ["a"]),
        (scope(query="token=a&token=b"), ["a", "b"]),
        (scope(("authorization", "Bearer a")), ["a"]),
        (scope(("authorization", "bearer  a ")), ["a"]),
        (scope(("authorization", "Basic a")), []),
        (scope(("authorization", "Bearer")), []),
        (scope(("authorization", "Bearer \xff")), ["\xff"]),
        (scope(("x-authorization", "Bearer a")), []),
        (scope(subprotocols=["bazis-ws", "a"]), ["a"]),
        (scope(subprotocols=["a", "bazis-ws"]), ["a"]),
        (scope(subprotocols=["a", "b"]), []),
        (scope(subprotocols=["bazis-ws"]), []),
        (
            scope(("authorization", "Bearer a"), query="token=c", subprotocols=["bazis-ws", "b"]),
            ["a", "b", "c"],
        ),
        (scope(("authorization", "Bearer a"), query="token=a"), ["a"]),
        ({"type": "websocket", "headers": []}, []),
        ({"type": "websocket", "headers": [], "subprotocols": None}, []),
    ],
    ids=lambda value: f"{value}"[:40],
)
def test_tokens_in_a_handshake(handshake, tokens):
    """In the order in which they count, each once."""
    assert tokens_in(handshake) == tokens


class Inner:
    """The application inside."""

    def __init__(self):
        self.scope = None

    async def __call__(self, scope, receive, send):
        """Note the scope, and what was found out."""
        self.scope = scope
        try:
            self.identity = await scope["ws_authentication"]
        except Exception as error:
            self.identity = error
        return "inner"


async def run(handshake):
    """Run the middleware; return the inner application."""
    inner = Inner()
    assert await JWTAuthMiddleware(inner)(handshake, None, None) == "inner"
    return inner


async def test_nothing_was_sent():
    """An anonymous user."""
    inner = await run(scope())
    assert isinstance(inner.scope["user"], AnonymousUser)
    assert inner.identity is None


async def test_a_django_session_where_no_token_was_sent(make_user):
    """Of an outer middleware."""
    alice = make_user(1)
    inner = await run(scope(user=alice))
    assert inner.scope["user"] is alice
    assert inner.identity.user is alice


@pytest.mark.parametrize(
    ("handshake", "kind"),
    [
        (scope(query="token=nonsense"), TokenError),
        (scope(query="token=a&token=b"), AuthenticationFailed),
        (scope(query="&".join("token=a" for _ in range(200))), TokenError),
    ],
    ids=["nonsense", "two", "many"],
)
async def test_what_is_wrong_is_told_inside(handshake, kind, make_user):
    """A token that is wrong is not made up for by a Django session."""
    handshake["user"] = make_user(1)
    inner = await run(handshake)
    assert isinstance(inner.scope["user"], AnonymousUser)
    assert type(inner.identity) is kind
    assert inner.identity.code == "invalid_token"


async def test_a_token_is_looked_up(monkeypatch, make_user):
    """In the database."""

    class Found:
        user = make_user(1)

    async def authenticate(token):
        assert token == "good"
        return Found

    monkeypatch.setattr(middleware, "aauthenticate", authenticate)
    inner = await run(scope(query="token=good"))
    assert inner.scope["user"] is Found.user
    assert inner.identity is Found


async def test_a_slow_database_does_not_hold_up_the_handshake(monkeypatch):
    """The consumer waits for the rest; at the end nothing is left running."""
    begun = []

    async def authenticate(token):
        begun.append(asyncio.current_task())
        await asyncio.Event().wait()

    monkeypatch.setattr(middleware, "aauthenticate", authenticate)
    monkeypatch.setattr(middleware, "_HANDSHAKE_SECONDS", 0)

    async def inner(scope, receive, send):
        assert isinstance(scope["user"], AnonymousUser)
        await asyncio.sleep(0)
        assert not scope["ws_authentication"].done()

    await JWTAuthMiddleware(inner)(scope(query="token=a"), None, None)
    await asyncio.wait(begun)
    assert begun[0].cancelled()


async def test_a_sign_in_goes_no_further_than_its_handshake(monkeypatch):
    """The server ends the application while the database is asked: nobody waits for the answer."""
    begun = asyncio.get_running_loop().create_future()

    async def authenticate(token):
        begun.set_result(asyncio.current_task())
        await asyncio.Event().wait()

    monkeypatch.setattr(middleware, "aauthenticate", authenticate)
    application = asyncio.ensure_future(run(scope(query="token=a")))
    sign_in = await begun
    application.cancel()
    await asyncio.wait({application})
    await asyncio.wait({sign_in}, timeout=5)
    assert sign_in.cancelled()


async def test_http_passes():
    """There is nothing to authenticate."""

    async def inner(scope, receive, send):
        return "user" in scope

    assert await JWTAuthMiddleware(inner)({"type": "http"}, None, None) is False


# --- origins --------------------------------------------------------------------------------


async def is_let_in(*origins):
    """Tell whether a handshake from there is let in; check how it is refused."""
    inner, sent = [], []

    async def application(scope, receive, send):
        inner.append(True)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        sent.append(event)

    headers = [("host", "x"), *(("origin", origin) for origin in origins)]
    await OriginMiddleware(application)(scope(*headers), receive, send)
    assert bool(sent) is not bool(inner)
    assert all(event["type"] == "websocket.close" for event in sent)
    return bool(inner)


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([], True),
        (["https://example.com"], True),
        (["https://EXAMPLE.com:8443"], True),
        (["http://a.wild.example"], True),
        (["http://[::1]:8000"], True),
        (["https://evil.example"], False),
        (["https://example.com.evil.example"], False),
        (["https://evil.example/example.com"], False),
        (["https://example.com@evil.example"], False),
        (["https://example.com", "https://evil.example"], False),
        (["null"], False),
        ([""], False),
        (["example.com"], False),
        (["http://["], False),
        (["\xff"], False),
    ],
    ids=repr,
)
async def test_origins_by_allowed_hosts(settings, origins, allowed):
    """By default."""
    settings.ALLOWED_HOSTS = ["example.com", ".wild.example", "[::1]"]
    assert await is_let_in(*origins) is allowed


@pytest.mark.parametrize(
    ("listed", "origin", "allowed"),
    [
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "http://a.example", False),
        (["https://a.example"], "https://a.example:444", False),
        (["https://*.a.example"], "https://b.a.example", True),
        (["https://*.a.example"], "https://a.example", False),
        (["https://*.a.example"], "http://b.a.example", False),
        (["https://*.a.example"], "https://b.a.example.evil", False),
        (["*"], "null", True),
        ("https://a.example", "https://a.example", True),
        ("https://*.a.example", "https://evil.example", False),
        ([], "https://a.example", False),
        (["https://a.example"], "http://[", False),
    ],
)
async def test_origins_by_setting(settings, listed, origin, allowed):
    """As in Django's CSRF_TRUSTED_ORIGINS; a string is one origin, not its letters."""
    settings.BAZIS_WS_ALLOWED_ORIGINS = listed
    assert await is_let_in(origin) is allowed


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:1"])
async def test_a_developers_own_machine(settings, origin):
    """Where DEBUG is on and no host is named, as with Django."""
    settings.DEBUG, settings.ALLOWED_HOSTS = True, []
    assert await is_let_in(origin)
    assert not await is_let_in("http://evil.example")
    settings.DEBUG = False
    assert not await is_let_in(origin)


def test_the_stack():
    """The origin first: a stranger's token is not looked at."""
    stack = JWTAuthMiddlewareStack("inner")
    assert isinstance(stack, OriginMiddleware)
    assert isinstance(stack.inner, JWTAuthMiddleware)
    assert stack.inner.inner == "inner"
