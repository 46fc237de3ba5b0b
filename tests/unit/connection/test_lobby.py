"""Sockets without a session: who gives way; and which address means one client."""

import pytest

from bazis_ws_channels.connection.lobby import Lobby, address_of, current_lobby


class Guest:
    """A socket that waits for a token.

    Attributes:
        sent_away: whether it was for its address, each time.
    """

    def __init__(self):
        self.sent_away = []

    def give_way(self, *, to_address):
        """Note it."""
        self.sent_away.append(to_address)


@pytest.fixture
def lobby(settings):
    """Three sockets altogether, two of an address."""
    settings.BAZIS_WS_MAX_UNAUTHENTICATED = 3
    settings.BAZIS_WS_MAX_UNAUTHENTICATED_BY_ADDRESS = 2
    return Lobby()


def enter(lobby, *addresses):
    """Let sockets come; return them."""
    guests = [Guest() for _ in addresses]
    for guest, address in zip(guests, addresses, strict=True):
        lobby.enter(guest, address)
    return guests


def test_the_longest_waiting_of_an_address_gives_way(lobby):
    """To one of the same address; others are not touched."""
    guests = enter(lobby, "other", "same", "same", "same")
    assert [each.sent_away for each in guests] == [[], [True], [], []]
    assert len(lobby) == 3


def test_the_longest_waiting_of_all_gives_way(lobby):
    """Whose address nobody knows counts among all alone."""
    guests = enter(lobby, None, None, None, "a", "b")
    assert [each.sent_away for each in guests] == [[False], [False], [], [], []]
    assert len(lobby) == 3


def test_whoever_leaves_makes_room(lobby):
    """Once, however often it is said; the address is forgotten with its last socket."""
    first, second = enter(lobby, "same", "same")
    for _ in range(2):
        lobby.leave(first)
    [third] = enter(lobby, "same")
    lobby.leave(second)
    lobby.leave(third)
    assert len(lobby) == 0
    assert lobby._by_address == {}
    assert [each.sent_away for each in (first, second, third)] == [[], [], []]


async def test_each_loop_has_one():
    """Its own."""
    assert current_lobby() is current_lobby()
    assert len(current_lobby()) == 0


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
