"""What is passed on to a server's protocol, on a transport that is connected to nothing."""

import asyncio
import gc
import weakref

import pytest

from bazis_ws_channels.servers import has_arrived, make_reader
from bazis_ws_channels.servers.sluice import Sluice, sluice_of
from bazis_ws_channels.servers.uvicorn_reader import UvicornReader
from tests.kit.raw import CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MESSAGE = frame(TEXT, b"x" * 14)


class Transport:
    """A transport that may be paused."""

    def __init__(self, protocol):
        self.protocol, self.paused, self.aborted, self.closing = protocol, False, False, False
        self.calls = []

    def get_protocol(self):
        """Whom it tells."""
        return self.protocol

    def set_protocol(self, protocol):
        """Tell another one."""
        self.protocol = protocol

    def is_reading(self):
        """Whether it reads."""
        return not self.paused

    def is_closing(self):
        """Whether it is being closed."""
        return self.closing

    def pause_reading(self):
        """Read no more."""
        assert not self.closing  # uvloop would raise
        self.paused = True

    def resume_reading(self):
        """Read again."""
        assert not self.closing
        self.paused = False

    def write(self, data):
        """Write."""
        self.calls.append(data)

    def abort(self):
        """Cut the connection."""
        self.aborted = self.closing = True

    def feed(self, data):
        """Read this from the socket."""
        while data:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(data), len(buffer))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]


class Inner(asyncio.Protocol):
    """A server's protocol: it queues what it gets, and pauses reading for each message."""

    def __init__(self):
        self.transport = Transport(self)
        self.handshake_complete = False
        self.parsed, self.told = [], []
        self.queue = asyncio.Queue()

    async def send(self, event):
        """ASGI's."""

    def data_received(self, data):
        """Take data."""
        self.parsed.append(data)
        self.transport.pause_reading()

    def eof_received(self):
        """The end."""
        self.told.append("eof")

    def pause_writing(self):
        """The client doesn't read."""
        self.told.append("pause")

    def resume_writing(self):
        """It does."""
        self.told.append("resume")

    def connection_lost(self, exc):
        """The end."""
        self.told.append(exc)

    @property
    def frames(self):
        """What was passed on."""
        return b"".join(self.parsed)


class Budget:
    """The client's."""

    def __init__(self):
        self.left, self.exceeded = 1000, 0

    def may_send_control(self):
        """Take one off."""
        self.left -= 1
        return self.left >= 0

    def was_exceeded(self):
        """Too big."""
        self.exceeded += 1


@pytest.fixture
async def inner():
    """A protocol."""
    return Inner()


@pytest.fixture
def transport(inner):
    """Its transport."""
    return inner.transport


@pytest.fixture
def budget():
    """The client's."""
    return Budget()


@pytest.fixture
async def reader(inner, transport, budget):
    """Its reader, on an accepted socket."""
    pytest.importorskip("uvicorn")
    reader = make_reader(inner.send, inner.queue.get, budget, lambda: False)
    assert isinstance(reader, UvicornReader)
    inner.handshake_complete = True
    return reader


async def turns(number):
    """Let the loop have turns."""
    for _ in range(number):
        await asyncio.sleep(0)


async def take(reader, inner, number):
    """Have the application take messages."""
    for _ in range(number):
        inner.queue.put_nowait({"type": "websocket.receive"})
        await reader.receive()


async def test_a_message_is_passed_on_at_once(inner, transport, reader):
    """As most are; and reading is not paused, whatever the server's protocol says."""
    transport.feed(MESSAGE)
    transport.feed(MESSAGE[:5])
    transport.feed(MESSAGE[5:])
    assert inner.parsed[0] == MESSAGE
    assert inner.frames == MESSAGE * 2
    assert not transport.paused


async def test_few_frames_are_passed_on_at_once(inner, transport, reader):
    """Such as a ping and a message."""
    transport.feed((frame(PING, b"x") + MESSAGE) * 4)
    assert inner.frames == (frame(PING, b"x") + MESSAGE) * 4
    assert not transport.paused


async def test_many_are_passed_on_in_turns(inner, transport, reader):
    """So many frames in each step; what comes before their turn has its own after it."""
    ping = frame(PING, b"x" * 30)
    transport.feed(ping * 100)
    assert (inner.frames, transport.paused) == (ping * 8, False)
    transport.feed(ping * 10)
    assert (inner.frames, transport.paused) == (ping * 8, True)
    await turns(2)
    assert [len(each) // len(ping) for each in inner.parsed] == [8, 32, 32, 32, 6]
    assert not transport.paused


async def test_many_bytes_are_passed_on_in_turns(inner, transport, reader):
    """So many in each step, even of one frame."""
    big = frame(TEXT, b"x" * 40_000)
    transport.feed(big)
    assert inner.parsed == []
    await turns(2)
    assert [len(each) for each in inner.parsed] == [16_384, 16_384, 40_008 - 2 * 16_384]
    assert inner.frames == big


async def test_several_take_turns(inner, transport, reader, budget):
    """A step each, however much one has sent."""
    other, order = Inner(), []
    make_reader(other.send, other.queue.get, budget, lambda: False)
    for each, name in ((inner, "a"), (other, "b")):
        sluice = each.transport.get_protocol()
        sluice._parse = lambda data, name=name: order.append(name)
    transport.feed(frame(PING) * 80)
    other.transport.feed(frame(PING) * 30)
    await turns(3)
    assert order == ["a", "b", "a", "b", "a", "a"]


async def test_messages_wait_until_the_application_has_those_before(inner, transport, reader):
    """Eight at a time."""
    transport.feed(MESSAGE * 30)
    transport.feed(MESSAGE * 10)
    await turns(5)
    assert inner.frames == MESSAGE * 8
    await take(reader, inner, 6)
    await turns(5)
    assert (inner.frames, transport.paused) == (MESSAGE * 8, True)
    for _ in range(5):
        await take(reader, inner, 8)
        await turns(5)
    assert (inner.frames, transport.paused) == (MESSAGE * 40, False)


async def test_nothing_overtakes_what_waits(inner, transport, reader):
    """Few bytes behind many, if the transport was resumed by somebody else."""
    transport.feed(MESSAGE * 30)
    for _ in range(10):
        transport.resume_reading()
        transport.feed(MESSAGE)
        assert transport.paused
    transport.feed(frame(PING))
    for _ in range(6):
        await turns(5)
        await take(reader, inner, 8)
    assert inner.frames == MESSAGE * 40 + frame(PING)


async def test_one_message_may_be_of_any_size(inner, transport, reader):
    """In many reads, without the application."""
    big = frame(TEXT, b"x" * 65_000)
    for begin in range(0, len(big), 16_384):
        transport.feed(big[begin : begin + 16_384])
    await turns(2)
    assert (inner.frames, transport.paused) == (big, False)


async def test_too_much_is_not_passed_on(inner, transport, reader, budget):
    """By its announced length, or in its parts; nothing comes after that."""
    transport.feed(frame(TEXT, b"x" * 60_000, fin=False)[:100])
    assert not budget.exceeded
    transport.feed(frame(TEXT, b"x" * 60_000, fin=False)[100:])
    await turns(9)
    passed = inner.frames
    transport.feed(frame(CONTINUATION, b"x" * 400) + frame(CONTINUATION, length=10_000) + MESSAGE)
    assert inner.frames == passed + frame(CONTINUATION, b"x" * 400)
    assert (budget.exceeded, transport.paused) == (1, True)
    transport.feed(MESSAGE)
    assert transport.paused
    await turns(9)
    assert inner.frames == passed + frame(CONTINUATION, b"x" * 400)


async def test_pings_within_the_budget_are_passed_on(inner, transport, reader, budget):
    """And all pongs, for the server waits for one; but none to a client that doesn't read."""
    ping, pong = frame(PING, b"x"), frame(PONG, b"y")
    budget.left = 3
    transport.feed((ping + pong) * 3)
    assert inner.frames == ping + pong + ping + pong * 2
    budget.left = 10
    transport.protocol.pause_writing()
    transport.feed(ping * 2 + pong)
    transport.protocol.resume_writing()
    transport.feed(ping)
    assert inner.frames == ping + pong + ping + pong * 3 + ping
    assert inner.told == ["pause", "resume"]


async def test_a_client_that_is_closed_is_cut(inner, transport, reader, monkeypatch):
    """After some seconds; nothing is read until then, and nothing that waits is passed on."""
    monkeypatch.setattr("bazis_ws_channels.servers.sluice._CUT_SECONDS", 0)
    transport.feed(MESSAGE * 40)
    reader.stop()
    reader.stop()
    assert (transport.paused, transport.aborted) == (True, False)
    await turns(3)
    assert (inner.frames, transport.aborted) == (MESSAGE * 8, True)
    reader.stop()
    reader.detach()


async def test_a_client_that_has_gone_is_not_cut(inner, transport, reader, monkeypatch):
    """It is gone."""
    monkeypatch.setattr("bazis_ws_channels.servers.sluice._CUT_SECONDS", 0)
    transport.feed(MESSAGE * 40)
    reader.stop()
    transport.closing = True
    transport.protocol.connection_lost(None)
    await turns(3)
    assert (inner.frames, inner.told, transport.aborted) == (MESSAGE * 8, [None], False)


async def test_when_the_application_has_ended_only_the_close_frame_counts(inner, transport, reader):
    """Whatever else is in front of it."""
    close = frame(CLOSE, b"\x03\xe8")
    transport.feed(MESSAGE * 40)
    await turns(5)
    reader.detach()
    transport.feed(frame(PING) * 50 + MESSAGE * 30 + close)
    await turns(9)
    assert inner.frames == MESSAGE * 8 + close
    assert not transport.paused


async def test_before_the_socket_is_accepted(inner, transport):
    """Little may come; it is not lost, and counts."""
    sluice = sluice_of(inner.send)
    assert sluice_of(inner.send) is sluice
    transport.feed(MESSAGE * 3)
    assert inner.frames == MESSAGE * 3
    assert transport.paused  # by the server's protocol
    reader = make_reader(inner.send, inner.queue.get, Budget(), lambda: False)
    assert not transport.paused
    transport.feed(MESSAGE * 40)
    await turns(5)
    assert inner.frames == MESSAGE * 8
    await take(reader, inner, 7)
    await turns(5)
    assert inner.frames == MESSAGE * 15
    assert not transport.aborted


async def test_much_before_the_socket_is_accepted(inner, transport):
    """The server would parse it."""
    sluice_of(inner.send)
    transport.feed(MESSAGE * 150)
    transport.feed(MESSAGE * 150)
    assert (inner.frames, transport.aborted) == (MESSAGE * 150, True)


async def test_the_older_websockets_protocol_tells_by_an_event(inner, transport):
    """Whether it is accepted."""
    inner.handshake_completed_event = asyncio.Event()
    sluice_of(inner.send)
    transport.feed(MESSAGE * 100)
    inner.handshake_completed_event.set()
    transport.feed(MESSAGE * 300)
    assert not transport.aborted


@pytest.mark.parametrize("size", [0, 3, 170, 20_000])
async def test_what_the_older_websockets_protocol_has_read(inner, transport, size):
    """Before the sluice was there: it goes back, and counts; or it was too much."""
    inner.reader = asyncio.StreamReader()
    inner.data_received = inner.reader.feed_data
    inner.reader.feed_data(MESSAGE * size)
    assert await has_arrived(inner.send)
    assert transport.aborted == (size > 200)
    if not transport.aborted:
        assert transport.protocol._sieve.untaken == size
        inner.reader.feed_eof()
        assert await inner.reader.read() == MESSAGE * size


async def test_a_stream_that_has_ended(inner, transport):
    """With its connection."""
    inner.reader = asyncio.StreamReader()
    sluice = sluice_of(inner.send)
    inner.reader.feed_eof()
    transport.closing = True
    await sluice.look_back()


async def test_another_consumer_gets_all(inner, transport):
    """One that is none of ours is held to no rules, and pauses the transport itself."""
    sluice_of(inner.send)
    inner.handshake_complete = True
    transport.feed(frame(TEXT, length=2**40) + MESSAGE * 1000)
    assert inner.frames == frame(TEXT, length=2**40) + MESSAGE * 1000
    assert transport.paused
    inner.transport.resume_reading()
    assert not transport.paused


async def test_the_server_sees_its_transport(inner, transport):
    """All of it."""
    sluice_of(inner.send)
    for _ in range(2):
        inner.transport.write(b"x")
    assert transport.calls == [b"x", b"x"]
    assert not inner.transport.is_closing()
    transport.protocol.eof_received()
    assert inner.told == ["eof"]
    with pytest.raises(AttributeError):
        inner.transport.nonsense  # noqa: B018


async def test_a_parser_that_fails(inner, transport, reader):
    """Ends the connection, as at a transport; the loop is told of the error."""
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    def fail(data):
        raise ValueError("cannot parse")

    transport.feed(MESSAGE * 10)
    transport.protocol._parse = fail
    await take(reader, inner, 7)
    await turns(3)
    assert transport.aborted
    assert [str(each["exception"]) for each in errors] == ["cannot parse"]


async def test_a_paused_transport_stays_paused(inner, transport):
    """Until who has paused it resumes it."""
    transport.pause_reading()
    sluice_of(inner.send)
    assert transport.paused


async def test_where_no_sluice_can_be(inner, transport):
    """A `send` that is not a protocol's, a transport that tells somebody else or is closing."""
    assert sluice_of(print) is None
    assert sluice_of(asyncio.Queue().put) is None
    transport.closing = True
    assert sluice_of(inner.send) is None
    transport.closing, transport.protocol = False, Inner()
    assert sluice_of(inner.send) is None
    assert isinstance(transport.protocol, Inner)


async def test_a_connection_that_is_gone_is_no_cycle(inner, transport, reader):
    """Python need not look for it."""
    sluice = weakref.ref(transport.protocol)
    assert isinstance(sluice(), Sluice)
    transport.protocol.connection_lost(None)
    transport.protocol = None
    gc.disable()
    try:
        inner.transport = None
        del reader._sluice
        await turns(1)
        assert sluice() is None
    finally:
        gc.enable()
