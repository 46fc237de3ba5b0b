"""Which pages may open a socket."""

import pytest

from bazis_ws_channels import origins as module
from bazis_ws_channels.origins import Origins


def handshake(origin=None, host="shop.example", scheme="ws", **headers):
    """Return the scope of a handshake from a page."""
    pairs = {"host": host, **headers}
    if origin is not None:
        pairs["origin"] = origin
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items()]
    return {"headers": encoded, "scheme": scheme, "server": ("10.0.0.1", 8000)}


def allows(origin, *, by_cookie=False, **options):
    """Tell whether such a handshake may go on."""
    return Origins().are_allowed(handshake(origin, **options), by_cookie=by_cookie)


@pytest.fixture(autouse=True)
def site(settings):
    """A site of two hosts."""
    settings.ALLOWED_HOSTS = ["shop.example", ".cdn.example", "[::1]"]
    settings.BAZIS_WS_ALLOWED_ORIGINS = None
    settings.CSRF_TRUSTED_ORIGINS = []


@pytest.mark.parametrize("by_cookie", [False, True])
def test_no_browser(by_cookie):
    """It sends no origin, and no cookie by itself either."""
    assert allows(None, by_cookie=by_cookie)


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://shop.example", True),
        ("http://shop.example:8000", True),
        ("https://SHOP.example", True),
        ("https://a.cdn.example", True),
        ("https://cdn.example", True),
        ("http://[::1]:8000", True),
        ("https://evil.example", False),
        ("https://shop.example.evil.example", False),
        ("https://evilshop.example", False),
        ("https://evil.example/shop.example", False),
        ("https://shop.example@evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("https://", False),
    ],
)
def test_with_a_token(origin, is_allowed):
    """Pages of the site's hosts."""
    assert allows(origin) is is_allowed


@pytest.mark.parametrize(
    ("allowed", "origin", "is_allowed"),
    [
        (["https://app.example"], "https://app.example", True),
        (["https://app.example"], "http://app.example", False),
        (["https://app.example"], "https://app.example:8443", False),
        (["https://app.example"], "https://www.app.example", False),
        (["https://*.app.example"], "https://www.app.example", True),
        (["https://*.app.example"], "https://a.b.app.example", True),
        (["https://*.app.example"], "https://app.example", False),
        (["https://*.app.example"], "http://www.app.example", False),
        (["https://*.app.example"], "https://evilapp.example", False),
        ("https://app.example", "https://app.example", True),  # one, not its characters
        ("https://*.app.example", "https://evil.example", False),
        (["*"], "https://evil.example", True),
        (["*"], "null", True),
        (["null"], "null", True),  # an app's web view
    ],
)
def test_pages_that_are_listed(settings, allowed, origin, is_allowed):
    """By scheme, host and port."""
    settings.BAZIS_WS_ALLOWED_ORIGINS = allowed
    assert allows(origin) is is_allowed


@pytest.mark.parametrize(
    ("origin", "options", "is_allowed"),
    [
        ("http://shop.example", {}, True),
        ("https://shop.example", {"scheme": "wss"}, True),
        ("https://shop.example", {}, False),
        ("http://shop.example", {"scheme": "wss"}, False),
        ("http://shop.example:8000", {"host": "shop.example:8000"}, True),
        ("http://shop.example:8000", {}, False),
        ("http://a.cdn.example", {}, False),  # another of the site's hosts
        ("http://evil.example", {}, False),
        ("http://evil.example", {"host": "evil.example"}, False),  # DNS rebinding
        ("null", {}, False),
    ],
)
def test_with_a_cookie(origin, options, is_allowed):
    """The very site that is asked."""
    assert allows(origin, by_cookie=True, **options) is is_allowed


def test_with_a_cookie_behind_a_proxy(settings):
    """What it says counts where Django trusts it."""
    asked = {"host": "10.0.0.1", "x_forwarded_host": "shop.example", "x_forwarded_proto": "https"}
    settings.ALLOWED_HOSTS.append("10.0.0.1")
    assert not allows("https://shop.example", by_cookie=True, **asked)
    settings.USE_X_FORWARDED_HOST = True
    assert not allows("https://shop.example", by_cookie=True, **asked)
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert allows("https://shop.example", by_cookie=True, **asked)


def test_with_a_cookie_what_is_listed(settings):
    """There or as CSRF's, but not everybody: the browser sends the cookie by itself."""
    settings.BAZIS_WS_ALLOWED_ORIGINS = ["*", "https://app.example"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.trusted.example"]
    assert allows("https://app.example", by_cookie=True)
    assert allows("https://a.trusted.example", by_cookie=True)
    assert not allows("https://evil.example", by_cookie=True)
    settings.BAZIS_WS_ALLOWED_ORIGINS = None
    assert not allows("https://a.trusted.example")  # CSRF's list is for cookies


def test_while_developing(settings):
    """As Django: the machine's own names where no host is named."""
    settings.ALLOWED_HOSTS = []
    assert not allows("http://localhost:3000")
    settings.DEBUG = True
    for host in ("localhost", "app.localhost", "127.0.0.1", "[::1]"):
        assert allows(f"http://{host}:3000")
    assert not allows("http://evil.example")


def test_two_origins():
    """One of them is another's."""
    scope = handshake("https://shop.example")
    scope["headers"].append((b"origin", b"https://evil.example"))
    assert not Origins().are_allowed(scope, by_cookie=False)


def test_each_refused_page_is_logged_once(caplog, monkeypatch):
    """And not all that somebody invents."""
    monkeypatch.setattr(module, "_MOST_LOGGED", 2)
    origins = Origins()
    for name in ("a", "a", "b", "c"):
        origins.are_allowed(handshake(f"https://{name}.evil"), by_cookie=False)
    assert [record.args[1] for record in caplog.records] == ["https://a.evil", "https://b.evil"]
    assert "BAZIS_WS_ALLOWED_ORIGINS" in caplog.text
    Origins().are_allowed(handshake("https://" + "x" * 5000), by_cookie=True)
    assert "A handshake with a Django session from a page of" in caplog.text
    assert len(caplog.records[-1].getMessage()) < 600
