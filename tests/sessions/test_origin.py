"""Which pages may open a socket."""

import pytest
from websockets.exceptions import InvalidStatus

from tests.kit import Client


async def is_let_in(server, *origins):
    """Tell whether a handshake with these `Origin`s is accepted.

    A refusal is an HTTP 403; what is no origin at all gets daphne's 400.
    """
    headers = [("Origin", origin) for origin in origins]
    try:
        async with Client(server.ws, additional_headers=headers) as client:
            return await client.settle() == []
    except InvalidStatus as refusal:
        return refusal.response.status_code not in (400, 403)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1", True),
        ("http://127.0.0.1:8000", True),
        ("https://localhost:3000", True),
        ("HTTPS://LOCALHOST", True),
        ("https://evil.example", False),
        ("https://127.0.0.1.evil.example", False),
        ("https://evil.example/127.0.0.1", False),
        ("https://evil.example#127.0.0.1", False),
        ("https://127.0.0.1@evil.example", False),
        ("null", False),
        ("file://", False),
        ("", False),
        ("127.0.0.1", False),
        ("http://[", False),
        ("http://127.0.0.1:99999999", False),
        ("\x80\xff", False),
    ],
)
async def test_origins_by_allowed_hosts(server, origin, allowed):
    """By default the origin's host must be in `ALLOWED_HOSTS`."""
    assert await is_let_in(server, origin) is allowed


async def test_no_origin(server):
    """Clients that send no Origin are no browsers, and pass."""
    assert await is_let_in(server)


async def test_two_origins(server):
    """One bad origin of two is enough to refuse."""
    assert not await is_let_in(server, "http://127.0.0.1", "https://evil.example")


async def test_a_good_token_does_not_help(server, alice):
    """A page of another site is refused even with a good token."""
    with pytest.raises(InvalidStatus):
        await Client(
            server.ws, alice.ws_token(), additional_headers={"Origin": "https://evil.example"}
        ).__aenter__()


@pytest.fixture(scope="module")
def listed(servers):
    """A server with origins of its own."""
    return servers(
        BAZIS_WS_ALLOWED_ORIGINS=["https://app.example", "https://*.wild.example"],
        ALLOWED_HOSTS=["*"],
    )


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True),
        ("https://a.wild.example", True),
        ("https://a.b.wild.example", True),
        ("http://app.example", False),
        ("https://app.example:8443", False),
        ("https://wild.example", False),
        ("https://evilwild.example", False),
        ("http://a.wild.example", False),
        ("https://a.wild.example.evil", False),
        ("http://127.0.0.1", False),
        ("*", False),
        ("null", False),
    ],
)
async def test_origins_by_setting(listed, origin, allowed):
    """The setting replaces `ALLOWED_HOSTS`: scheme, host and port count."""
    assert await is_let_in(listed, origin) is allowed


@pytest.fixture(scope="module")
def one_text(servers):
    """A server whose setting is a string, where a list was meant."""
    return servers(BAZIS_WS_ALLOWED_ORIGINS="https://*.wild.example")


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://a.wild.example", True), ("https://evil.example", False)]
)
async def test_a_string_is_one_origin(one_text, origin, allowed):
    """A string is one origin, and not a list of characters with a `*` among them."""
    assert await is_let_in(one_text, origin) is allowed
