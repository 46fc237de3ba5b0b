"""What makes daphne's handshakes cheaper, on autobahn's own server without a socket."""

import pytest
from autobahn.twisted import websocket
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import protocol
from twisted.internet.testing import StringTransport

from bazis_ws_channels.servers.daphne_options import limit_early_data, pace_accepts, spare_dump

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: testserver\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Port:
    """A port that listens, as Twisted has it."""

    def __init__(self, accepts):
        self.numberAccepts = accepts


class Transport(StringTransport):
    """A connection that came on a port.

    Attributes:
        is_cut: whether it was aborted.
    """

    is_cut = False

    def __init__(self, port=None):
        super().__init__()
        self.server = port

    def abortConnection(self):
        """Note it."""
        self.is_cut = True


class Server(WebSocketServerProtocol):
    """A WebSocket of the project's server, which keeps what comes."""

    def onOpen(self):
        """Begin."""
        self.messages = []

    def onMessage(self, payload, isBinary):
        """Keep it."""
        self.messages.append(payload)


@pytest.fixture
def factory(monkeypatch):
    """autobahn's factory of connections; what makes its log nice is put back."""
    for module in (websocket, protocol):
        for name in ("hltype", "hlval", "pformat"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name))
    factory = WebSocketServerFactory()
    factory.protocol = Server
    factory.setProtocolOptions(openHandshakeTimeout=0, maxMessagePayloadSize=77)
    return factory


def connect(factory):
    """Return a connection that has come, before its handshake."""
    connection = factory.buildProtocol(None)
    connection.makeConnection(Transport())
    return connection


# --- accepting ------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(100, 10), (11, 10), (10, 10), (3, 3)])
def test_few_connections_are_accepted_in_a_turn(before, after):
    """Where Twisted took more; what somebody has set lower stays."""
    port = Port(before)
    pace_accepts(Transport(port))
    assert port.numberAccepts == after


@pytest.mark.parametrize("transport", [None, Transport(None), Transport(object())])
def test_a_transport_without_such_a_port_is_left_alone(transport):
    """A connection that is gone, a UNIX socket of another reactor."""
    pace_accepts(transport)


# --- data before the socket is accepted -----------------------------------------------------


def test_a_client_that_sends_much_before_it_is_accepted_is_cut(factory):
    """Nothing of it is kept: autobahn would hold all of it."""
    connection = connect(factory)
    limit_early_data(connection)
    connection.dataReceived(b"GET /ws HTTP/1.1\r\nX-Long: ")
    connection.dataReceived(b"x" * 60_000)
    assert not connection.transport.is_cut
    connection.dataReceived(b"x" * 10_000)
    assert connection.transport.is_cut
    assert len(connection.data) < 61_000


def test_an_open_socket_has_other_limits(factory):
    """Frames may come in reads of any size."""
    factory.setProtocolOptions(maxMessagePayloadSize=0)
    connection = connect(factory)
    limit_early_data(connection)
    connection.dataReceived(HANDSHAKE)
    size = 100_000
    connection.dataReceived(b"\x82\xff" + size.to_bytes(8) + b"\0\0\0\0" + b"m" * size)
    assert connection.messages == [b"m" * size]
    assert not connection.transport.is_cut


# --- what is formatted for no log -----------------------------------------------------------


def test_connections_have_the_options_of_the_factory_without_a_copy(factory):
    """Each by its class, which copies none and so lists none for a log."""
    spare_dump(factory)
    assert issubclass(factory.protocol, Server)
    connection = connect(factory)
    assert connection.CONFIG_ATTRS == ()
    for name in Server.CONFIG_ATTRS:
        assert getattr(connection, name) == getattr(factory, name), name
    assert connection.maxMessagePayloadSize == 77


def test_handshakes_go_on_as_before(factory):
    """With what the server's own class does."""
    spare_dump(factory)
    connection = connect(factory)
    connection.dataReceived(HANDSHAKE)
    assert connection.transport.value().startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    connection.dataReceived(b"\x81\x82\0\0\0\0hi")
    assert connection.messages == [b"hi"]


def test_a_callable_option_is_no_method(factory):
    """It is called as the factory's owner wrote it."""
    factory.perMessageCompressionAccept = lambda offers: ("accepted", offers)
    spare_dump(factory)
    assert connect(factory).perMessageCompressionAccept("offers") == ("accepted", "offers")


def test_a_factory_is_changed_once(factory):
    """By its first connection."""
    spare_dump(factory)
    spared = factory.protocol
    spare_dump(factory)
    assert factory.protocol is spared


def test_an_autobahn_with_other_options_is_left_alone(factory):
    """Where the factory lacks one: nothing is faster, and nothing is wrong."""
    del factory.tcpNoDelay
    spare_dump(factory)
    assert factory.protocol is Server


def test_autobahn_makes_nothing_nice_for_its_debug_log(factory):
    """From the first connection on: it did so for each read from a socket."""
    spare_dump(factory)
    for module in (websocket, protocol):
        assert module.hltype(connect) is connect
        assert module.hlval(5, color="red") == 5
    assert protocol.pformat([5] * 100) == str([5] * 100)


def test_an_autobahn_without_such_functions_gets_none(factory, monkeypatch):
    """What is not there is not made."""
    monkeypatch.delattr(websocket, "hltype")
    spare_dump(factory)
    assert not hasattr(websocket, "hltype")
