"""What daphne and Twisted make us do, on transports that are not connected to anything."""

import asyncio
from functools import partial

import pytest
from autobahn.websocket.protocol import WebSocketProtocol as Autobahn
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Connection
from zope.interface import implementer

from bazis_ws_channels.parcels import Frames
from bazis_ws_channels.servers import daphne, make_writer, on_server_stop
from bazis_ws_channels.servers.daphne import DaphneWriter, answer_at_once, protocol_of


class Transport(Connection):
    """A TCP transport of Twisted's, over a socket that takes so many bytes at once.

    Attributes:
        at_once: what went to the socket without the transport's buffers.
        buffered: what went by the public `write`.
    """

    def __init__(self, takes=10**9):
        self.takes, self.at_once, self.buffered = takes, b"", b""
        self.connected, self.disconnecting = True, False
        self.dataBuffer, self.offset, self._tempDataLen = b"", 0, 0
        self.socket, self.producers = self, []

    def send(self, data):
        """Take what the socket takes."""
        if isinstance(self.takes, Exception):
            raise self.takes
        self.at_once += data[: self.takes]
        return min(len(data), self.takes)

    def doWrite(self):
        """Have nothing to flush."""

    def write(self, data):
        """Take it for later."""
        self.buffered += data

    def registerProducer(self, producer, streaming):
        """Note who produces."""
        self.producers.append(producer)

    def unregisterProducer(self):
        """Note that nobody does."""
        self.producers.append(None)


class Protocol(WebSocketProtocol):
    """A WebSocket that is open."""

    STATE_OPEN = Autobahn.STATE_OPEN

    def __init__(self, transport):
        self.transport, self.state = transport, self.STATE_OPEN
        self.events = []

    async def handle_reply(self, event):
        """Take an ASGI event."""
        self.events.append(event)


@pytest.fixture(autouse=True)
def forget_transports(monkeypatch):
    """Look at each class of transports anew."""
    monkeypatch.setattr(daphne, "_direct", {})


def make(transport):
    """Return a protocol, its writer, and a list of overflows."""
    protocol, overflows = Protocol(transport), []
    send = partial(Protocol.handle_reply, protocol)
    return protocol, make_writer(send, lambda: overflows.append(True)), overflows


def frame(text):
    """Return the WebSocket frame of a short text."""
    return bytes([0x81, len(text)]) + text.encode()


def test_a_frame_goes_to_the_socket_at_once():
    """Where nothing waits before it."""
    protocol, writer, _ = make(Transport())
    assert isinstance(writer, DaphneWriter)
    writer.write("hello")
    writer.write(b"\x00")
    assert protocol.transport.at_once == frame("hello") + b"\x82\x01\x00"
    assert protocol.transport.buffered == b""
    assert protocol.transport.producers == [None, writer]


def test_frames_for_many_go_with_one_write():
    """Framed once for all of them."""
    frames, writes = Frames(["one", "two"]), []
    for _ in range(2):
        protocol, writer, _ = make(Transport())
        send = protocol.transport.send
        protocol.transport.send = lambda data, send=send: writes.append(data) or send(data)
        writer.write_all(frames)
        assert protocol.transport.at_once == frame("one") + frame("two")
    assert len(writes) == 2
    assert writes[0] is writes[1]


def test_frames_for_many_wait_while_the_transport_is_full():
    """One by one, as any; and nothing is written to a closed one."""
    protocol, writer, _ = make(Transport())
    writer.pauseProducing()
    writer.write_all(Frames(["one", "two"]))
    assert protocol.transport.at_once == b""
    writer.resumeProducing()
    assert protocol.transport.at_once == frame("one") + frame("two")
    writer.abandon()
    writer.write_all(Frames(["three"]))
    assert protocol.transport.at_once == frame("one") + frame("two")


def test_what_the_socket_does_not_take_is_buffered():
    """The rest of it, in order."""
    protocol, writer, _ = make(Transport(takes=3))
    writer.write("hello")
    assert protocol.transport.at_once + protocol.transport.buffered == frame("hello")
    assert len(protocol.transport.at_once) == 3


def test_an_error_of_the_socket_is_met_by_the_transport_too():
    """Which knows what to do."""
    protocol, writer, _ = make(Transport(takes=OSError("gone")))
    writer.write("hello")
    assert protocol.transport.buffered == frame("hello")


@pytest.mark.parametrize(
    "state", [{"connected": False}, {"_tempDataLen": 5}, {"dataBuffer": b"xx", "offset": 1}]
)
def test_nothing_overtakes_what_waits_in_twisted(state):
    """In one of its two buffers."""
    protocol, writer, _ = make(Transport())
    vars(protocol.transport).update(state)
    writer.write("hello")
    assert protocol.transport.at_once == b""
    assert protocol.transport.buffered == frame("hello")


@pytest.mark.parametrize("takes", [10**9, 3, 0, OSError("gone")])
def test_the_answer_to_a_handshake_goes_to_the_socket_at_once(takes):
    """As much of it as the socket takes; whatever comes later goes as Twisted has it."""
    transport = Transport(takes)
    answer_at_once(transport)
    transport.write(b"101")
    assert transport.at_once + transport.buffered == b"101"
    assert transport.at_once == b"101"[: takes if isinstance(takes, int) else 0]
    transport.write(b"more")
    assert transport.buffered.endswith(b"more")
    assert "write" not in vars(transport)


def test_the_answer_to_a_handshake_overtakes_nothing():
    """Such as the answer to a request before it, on the same connection."""
    transport = Transport()
    answer_at_once(transport)
    transport._tempDataLen = 5
    transport.write(b"101")
    assert (transport.at_once, transport.buffered) == (b"", b"101")


def test_a_transport_that_is_no_tcp_connection_answers_as_it_does():
    """With TLS, say."""
    transport = object()
    answer_at_once(transport)


@pytest.mark.parametrize("name", daphne._NEEDED)
def test_a_transport_without_what_is_needed_takes_the_public_way(name, caplog):
    """A newer Twisted may have renamed it: one line in the log for all its connections, and no
    dead socket.
    """

    class Renamed(Transport):
        def __getattribute__(self, wanted):
            if wanted == name:
                raise AttributeError(wanted)
            return super().__getattribute__(wanted)

    for _ in range(3):
        protocol, writer, _ = make(Renamed())
        writer.write("hello")
        assert protocol.transport.buffered == frame("hello")
    [record] = caplog.records
    assert record.getMessage() == (
        f"Twisted's Renamed has no {name} (any more): frames go the slower public way."
    )


def test_tls_takes_the_public_way(caplog):
    """It is no TCP transport; nobody needs to hear of it."""

    class TLS:
        def __init__(self):
            self.buffered = b""

        def write(self, data):
            self.buffered += data

        def registerProducer(self, producer, streaming):
            pass

        def unregisterProducer(self):
            pass

    protocol, writer, _ = make(TLS())
    writer.write("hello")
    assert protocol.transport.buffered == frame("hello")
    assert not caplog.records


def test_a_full_transport_holds_frames_back(settings):
    """In order; over so many bytes the client is given up."""
    settings.BAZIS_WS_SEND_BUFFER_BYTES = 5
    protocol, writer, overflows = make(Transport())
    writer.pauseProducing()
    writer.write("1")
    writer.write("2")
    assert protocol.transport.at_once == b""
    writer.resumeProducing()
    assert protocol.transport.at_once == frame("1") + frame("2")
    writer.pauseProducing()
    for _ in range(3):
        writer.write("xxx")
    assert overflows == [True]
    writer.resumeProducing()
    assert protocol.transport.at_once == frame("1") + frame("2")


def test_a_transport_that_fills_up_again_stops_in_the_middle():
    """Frames that wait, wait on."""
    protocol, writer, _ = make(Transport())
    writer.pauseProducing()
    writer.write("1")
    writer.write("2")
    write = protocol.transport.send

    def fills_up(data):
        writer.pauseProducing()
        return write(data)

    protocol.transport.send = fills_up
    writer.resumeProducing()
    assert protocol.transport.at_once == frame("1")
    writer.resumeProducing()
    assert protocol.transport.at_once == frame("1") + frame("2")


def test_a_transport_that_closes_is_left():
    """With a producer it would never close."""
    protocol, writer, _ = make(Transport())
    writer.pauseProducing()
    writer.write("1")
    protocol.transport.disconnecting = True
    writer.resumeProducing()
    assert protocol.transport.producers[-1] is None
    assert protocol.transport.at_once == b""


async def test_close_drops_what_waits_for_a_full_transport():
    """The client isn't reading."""
    protocol, writer, _ = make(Transport())
    writer.write("1")
    writer.pauseProducing()
    writer.write("2")
    await writer.close(4429)
    writer.write("3")
    writer.resumeProducing()
    assert protocol.transport.at_once == frame("1")
    assert protocol.events == [{"type": "websocket.close", "code": 4429}]
    assert protocol.transport.producers[-1] is None


def test_a_connection_that_is_gone():
    """In Twisted's words, and in ours."""
    protocol, writer, _ = make(Transport())
    writer.stopProducing()
    writer.write("1")
    assert protocol.transport.at_once == b""
    protocol.transport = None
    writer.abandon()
    protocol, writer, _ = make(Transport())
    protocol.state = Autobahn.STATE_CLOSED
    writer.write("1")
    assert protocol.transport.at_once == b""


def test_large_frames_are_not_kept():
    """Small ones are framed once for all recipients of a broadcast."""
    assert daphne._framed("x" * 100) is daphne._framed("x" * 100)
    assert daphne._framed("x" * 20_000) is not daphne._framed("x" * 20_000)


@pytest.mark.parametrize(
    "send",
    [print, partial(print), partial(print, "x"), partial(print, Protocol(None))],
    ids=["function", "no arguments", "a stranger", "no transport"],
)
def test_a_send_that_is_not_daphnes_own(send):
    """Somebody may have wrapped it, and wants to see the frames."""
    assert protocol_of(send) is None


# --- the end of the server ------------------------------------------------------------------


@implementer(IListeningPort)
class Port:
    """Where a reactor listens."""

    is_open = True

    def stopListening(self):
        """Note it."""
        self.is_open = False


class Reactor:
    """What is asked of Twisted's reactor."""

    running = True

    def __init__(self):
        self.triggers = []
        self.readers = [object(), Port()]

    def getReaders(self):
        """Return what it reads: connections, and the ports where it listens."""
        return self.readers

    def addSystemEventTrigger(self, phase, event, function):
        """Note it."""
        self.triggers.append((phase, event, function))


@pytest.fixture
def reactor(monkeypatch):
    """A reactor that runs this event loop."""
    import twisted.internet

    reactor = Reactor()
    monkeypatch.setattr(twisted.internet, "reactor", reactor, raising=False)
    monkeypatch.setattr(daphne, "isInIOThread", lambda: True)
    return reactor


async def test_before_the_reactor_ends_we_clean_up(reactor, monkeypatch):
    """It waits for that, but not for ever, whatever happens in it."""
    cleaned = []

    async def clean_up():
        cleaned.append(True)

    async def fails():
        raise RuntimeError("a bug")

    for callback in (clean_up, fails, asyncio.Event().wait):
        on_server_stop(callback)
    monkeypatch.setattr(daphne, "_STOP_SECONDS", 0.01)
    for phase, event, function in reactor.triggers:
        assert (phase, event) == ("before", "shutdown")
        deferred = function()
        result = asyncio.get_running_loop().create_future()
        deferred.addBoth(result.set_result)
        await asyncio.wait_for(result, 5)
    assert cleaned == [True]
    assert not reactor.readers[1].is_open


async def test_another_loop_than_the_reactors(reactor, monkeypatch):
    """Or none that runs: nothing to hold up."""
    monkeypatch.setattr(daphne, "isInIOThread", lambda: False)
    on_server_stop(print)
    monkeypatch.setattr(daphne, "isInIOThread", lambda: True)
    reactor.running = False
    on_server_stop(print)
    assert reactor.triggers == []
