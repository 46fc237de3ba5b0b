"""What daphne reads from a client, on a protocol that is connected to nothing."""

import asyncio
from types import SimpleNamespace

import pytest

from bazis_ws_channels.servers.daphne_reader import DaphneReader


class Transport:
    """A transport that may be paused."""

    is_paused = False

    def pauseProducing(self):
        """Read no more."""
        self.is_paused = True

    def resumeProducing(self):
        """Read again."""
        self.is_paused = False


class Protocol:
    """What of autobahn's protocol is hooked."""

    def __init__(self):
        self.transport, self.factory = Transport(), SimpleNamespace(protocol=object)
        self.application_queue = asyncio.Queue()
        self.data, self.parsed = b"", []
        self.on_data = None

    def dataReceived(self, data):
        """Take data from the socket."""
        self.parsed.append(data)
        if self.on_data is not None:
            self.on_data()

    def onMessage(self, payload, is_binary):
        """Take a message."""
        self.application_queue.put_nowait(payload)

    def onMessageFrameBegin(self, length):
        """Take the beginning of a frame."""


@pytest.fixture
async def protocol():
    """A protocol."""
    return Protocol()


@pytest.fixture
def reader(protocol):
    """Its reader, without a budget."""
    return DaphneReader(protocol.application_queue.get, None, lambda: False, protocol)


async def turns(number):
    """Let the loop have turns."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_few_bytes_are_parsed_at_once(protocol, reader):
    """As most frames are."""
    protocol.dataReceived(b"x" * 512)
    assert protocol.parsed == [b"x" * 512]
    assert not protocol.transport.is_paused


async def test_more_is_parsed_in_steps_and_nothing_read_meanwhile(protocol, reader):
    """In its order."""
    data = bytes(range(256)) * 40
    protocol.dataReceived(data)
    assert (protocol.parsed, protocol.transport.is_paused) == ([], True)
    await turns(5)
    assert [len(each) for each in protocol.parsed] == [4096, 4096, 2048]
    assert b"".join(protocol.parsed) == data
    assert not protocol.transport.is_paused


async def test_nothing_overtakes_what_waits(protocol, reader):
    """Few bytes behind many."""
    protocol.dataReceived(b"a" * 5000)
    protocol.dataReceived(b"b")
    await turns(5)
    assert b"".join(protocol.parsed) == b"a" * 5000 + b"b"


async def test_several_take_turns(protocol, reader):
    """A step each, however much one has sent."""
    other, order = Protocol(), []
    DaphneReader(other.application_queue.get, None, lambda: False, other)
    protocol.on_data, other.on_data = lambda: order.append("a"), lambda: order.append("b")
    protocol.dataReceived(b"a" * 3 * 4096)
    other.dataReceived(b"b" * 4096)
    await turns(5)
    assert order == ["a", "b", "a", "a"]


async def test_the_rest_of_a_client_that_is_closed_is_dropped(protocol, reader):
    """And nothing is read any more."""
    protocol.on_data = reader.stop
    protocol.dataReceived(b"a" * 10_000)
    await turns(5)
    assert len(protocol.parsed) == 1
    assert protocol.transport.is_paused


async def test_the_rest_of_a_connection_that_is_gone_is_dropped(protocol, reader):
    """Nobody waits for an answer."""
    protocol.dataReceived(b"a" * 10_000)
    protocol.transport = None
    await turns(5)
    assert protocol.parsed == []


async def test_reading_goes_on_when_the_application_has_all(protocol, reader):
    """Neither before, nor while something is yet to be parsed."""
    for _ in range(8):
        protocol.onMessage(b"m", False)
    assert protocol.transport.is_paused
    protocol.dataReceived(b"a" * 5000)
    for _ in range(8):
        assert protocol.transport.is_paused
        await reader.receive()
    assert protocol.transport.is_paused
    await turns(5)
    assert not protocol.transport.is_paused


async def test_what_waits_is_parsed_after_the_application_has_gone(protocol, reader):
    """The answer to its close frame may be there."""
    protocol.dataReceived(b"a" * 5000)
    reader.detach()
    await turns(5)
    assert b"".join(protocol.parsed) == b"a" * 5000
    assert not protocol.transport.is_paused
    protocol.dataReceived(b"b" * 5000)
    assert protocol.parsed[-1] == b"b" * 5000
