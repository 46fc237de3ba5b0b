"""Which address means one client."""

import pytest

from bazis_ws_channels.connection.lobby import address_of


def scope(client=None, **headers):
    """Return a scope; a header's underscores are dashes."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "websocket", "headers": pairs, "client": client and (client, 5000)}


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),  # a socket that listens to both kinds
        # A household, or a rented server, has a network of 2**64 addresses.
        ("2a00:1450:4001:1:aaaa:bbbb:cccc:dddd", "2a00:1450:4001:1::"),
        ("2a00:1450:4001:1::1", "2a00:1450:4001:1::"),
        ("2a00:1450:4001:2::1", "2a00:1450:4001:2::"),
        # A proxy's, or the machine's own.
        *((private, None) for private in ("10.0.0.1", "127.0.0.1", "::1", "fe80::1", "fd00::1")),
        *(("::ffff:10.0.0.1", None), ("fe80::1%eth0", None), ("", None), ("unix:", None)),
        (None, None),
    ],
)
def test_the_connections_own(client, address):
    """If it is public."""
    assert address_of(scope(client)) == address
    assert address_of(scope(client, x_forwarded_for="203.0.113.5")) == address


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("198.51.100.9, 203.0.113.5", "203.0.113.5"),  # what the proxy has added is last
        (" 10.0.0.7 ", "10.0.0.7"),  # the proxy is trusted: it may be a company's own
        ("2a00:1450:4001:1::5", "2a00:1450:4001:1::"),
        ("[2a00:1450:4001:1::5]", "2a00:1450:4001:1::"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("unknown", "unknown"),
        ("x" * 100, "x" * 64),
    ],
)
def test_what_the_proxy_tells(settings, header, address):
    """In the header that the settings trust."""
    settings.BAZIS_WS_CLIENT_ADDRESS_HEADER = "X-Forwarded-For"
    assert address_of(scope("8.8.8.8", x_forwarded_for=header)) == address
    assert address_of(scope("8.8.8.8")) is None
