"""Which pages may open a socket."""

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from websockets.exceptions import InvalidStatus

from tests.kit import Client, until


async def is_let_in(server, *origins, headers=()):
    """Tell whether a handshake with these `Origin`s is accepted.

    A refusal is an HTTP 403; what is no origin at all gets daphne's 400.
    """
    headers = [*headers, *(("Origin", origin) for origin in origins)]
    try:
        async with Client(server.ws, additional_headers=headers) as client:
            await client.settle()
            return True
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
    return servers(BAZIS_WS_ALLOWED_ORIGINS=["https://app.example", "https://*.wild.example"])


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
        ("http://127.0.0.1", True),
        ("https://localhost:3000", True),
        ("*", False),
        ("null", False),
    ],
)
async def test_origins_by_setting(listed, origin, allowed):
    """The setting adds to the hosts of the site; of what it adds, scheme, host and port count."""
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


# --- with a Django session ------------------------------------------------------------------


async def cookie(user):
    """Log a user into Django; return the header that a browser would then send."""
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    return "Cookie", f"sessionid={client.cookies['sessionid'].value}"


async def test_a_cookie_needs_the_very_site(server, alice):
    """Scheme, host and port count, as for Django's CSRF check: another port of the same host is
    another site, which may be anybody's. A token says more than a cookie.
    """
    header = await cookie(alice)
    site = server.ws.replace("ws://", "http://").removesuffix("/ws")
    for origin, allowed in [
        (site, True),
        (site.replace("http:", "https:"), False),
        (f"{site}0", False),
        ("http://127.0.0.1", False),
        ("https://localhost:3000", False),
        ("null", False),
        ("*", False),
        ("", False),
    ]:
        assert await is_let_in(server, origin, headers=[header]) is allowed, origin
    token = ("Authorization", f"Bearer {alice.ws_token()}")
    assert await is_let_in(server, "https://localhost:3000", headers=[header, token])
    assert await is_let_in(server, headers=[header])
    assert not await is_let_in(server, site, headers=[header, ("Host", "evil.example")])


@pytest.fixture(scope="module")
def generous(servers):
    """A server that lets other origins in, behind a proxy that ends TLS."""
    return servers(
        BAZIS_WS_ALLOWED_ORIGINS=["*", "https://app.example"],
        CSRF_TRUSTED_ORIGINS=["https://*.csrf.example"],
        SECURE_PROXY_SSL_HEADER=["HTTP_X_FORWARDED_PROTO", "https"],
        USE_X_FORWARDED_HOST=True,
    )


async def test_more_origins_for_cookies(generous, alice):
    """Those of the settings, and of Django's; never everybody's."""
    header = await cookie(alice)
    assert await is_let_in(generous, "https://anybody.example")
    assert not await is_let_in(generous, "https://anybody.example", headers=[header])
    assert await is_let_in(generous, "https://app.example", headers=[header])
    assert await is_let_in(generous, "https://a.csrf.example", headers=[header])


async def test_a_cookie_behind_a_proxy(generous, alice):
    """The site is the one that Django would see: by the headers that the settings trust."""
    headers = [
        await cookie(alice),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "localhost"),
    ]
    assert await is_let_in(generous, "https://localhost", headers=headers)
    assert not await is_let_in(generous, "http://localhost", headers=headers)


async def test_a_refusal_is_logged_once(servers):
    """With the name of the setting."""
    server = servers()
    for origin in ("https://another.example",) * 3 + ("https://last.example",):
        assert not await is_let_in(server, origin)
    await until(lambda: "'https://last.example' was refused" in server.log)
    # At most twice: the tests' settings have a handler of their own beside daphne's.
    assert 1 <= server.log.count("'https://another.example' was refused") <= 2
    assert "BAZIS_WS_ALLOWED_ORIGINS" in server.log
