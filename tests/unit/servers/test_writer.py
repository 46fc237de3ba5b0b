"""Frames for one client by ASGI's `send`."""

import asyncio
import sys
from types import SimpleNamespace

import pytest
from channels.sessions import InstanceSessionWrapper

from bazis_ws_channels import servers
from bazis_ws_channels.servers import make_writer, on_server_stop, writer
from bazis_ws_channels.servers.uvicorn import abort
from bazis_ws_channels.servers.writer import Writer, server_send
from tests.unit.peers import Socket


@pytest.fixture
async def socket():
    """The client."""
    return Socket()


@pytest.fixture
def overflows():
    """How often the writer overflowed."""
    return []


@pytest.fixture
async def out(socket, overflows):
    """The writer."""
    out = Writer(socket.send, lambda: overflows.append(True))
    yield out
    out.abandon()


async def turns(number=10):
    """Let everything ready run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_frames_go_in_order(out, socket):
    """Text as text, bytes as bytes; also after a pause."""
    out.write("1")
    out.write(b"2")
    await turns()
    out.write("3")
    await turns()
    assert socket.sent == [
        {"type": "websocket.send", "text": "1"},
        {"type": "websocket.send", "bytes": b"2"},
        {"type": "websocket.send", "text": "3"},
    ]


async def test_close_comes_behind_what_is_pending(out, socket):
    """And nothing behind it."""
    out.write("1")
    await turns()
    out.write("2")
    await out.close(4401)
    out.write("3")
    await turns()
    assert [event.get("text", event.get("code")) for event in socket.sent] == ["1", "2", 4401]


async def test_close_alone(out, socket):
    """Before any frame."""
    await out.close(1000)
    assert socket.sent == [{"type": "websocket.close", "code": 1000}]


async def test_a_client_that_does_not_read_holds_so_many_bytes(out, socket, settings, overflows):
    """Then it is given up, once."""
    settings.BAZIS_WS_SEND_BUFFER_BYTES = 10
    socket.is_reading.clear()
    out.write("x" * 100)  # one frame may be over the limit alone
    assert overflows == []
    out.write("x")
    assert overflows == [True]
    out.write("x")
    assert overflows == [True]


async def test_what_was_sent_counts_no_more(out, socket, settings, overflows):
    """A client that reads may have any number of frames."""
    settings.BAZIS_WS_SEND_BUFFER_BYTES = 10
    for _ in range(10):
        out.write("x" * 11)
        await turns()
    assert overflows == []
    assert len(socket.sent) == 10


async def test_a_client_that_is_gone_is_no_error(out, socket):
    """`receive` will say so."""
    socket.fails = OSError("gone")
    out.write("1")
    await turns()
    socket.fails = None
    out.write("2")
    await turns()
    assert socket.sent == []


async def test_a_client_that_reads_no_more_is_cut_off_at_close(out, socket, monkeypatch):
    """By the server's own way, where there is one."""
    cut = []
    monkeypatch.setattr(writer, "_CLOSE_SECONDS", 0)
    monkeypatch.setitem(sys.modules, "uvicorn", object())
    monkeypatch.setattr("bazis_ws_channels.servers.uvicorn.abort", cut.append)
    socket.is_reading.clear()
    out.write("1")
    await turns()
    await out.close(4429)
    assert cut == [socket.send]


async def test_other_servers_have_no_such_way(out, socket, monkeypatch):
    """It is left to them."""
    monkeypatch.setattr(writer, "_CLOSE_SECONDS", 0)
    monkeypatch.delitem(sys.modules, "uvicorn", raising=False)
    socket.is_reading.clear()
    await out.close(4429)
    assert socket.sent == []


async def test_abandoning_drops_everything(out, socket):
    """The connection is gone."""
    socket.is_reading.clear()
    out.write("1")
    out.write("2")
    await turns()
    out.abandon()
    socket.is_reading.set()
    await turns()
    assert socket.sent == []


def test_uvicorns_transport_is_aborted():
    """Anything else is left alone."""
    aborted = []

    class Protocol:
        transport = SimpleNamespace(abort=lambda: aborted.append(True))

        async def send(self, event):
            pass

    abort(Protocol().send)
    assert aborted == [True]
    abort(print)
    Protocol.transport = None
    abort(Protocol().send)


def test_the_servers_own_send_is_found_below_channels_sessions():
    """Which do nothing to a WebSocket's frames."""

    async def send(event):
        pass

    scope = {"cookies": {}, "session": None, "type": "websocket"}
    outer = send
    for _ in range(2):
        wrapper = InstanceSessionWrapper(scope, outer)
        outer = wrapper.send
    assert server_send(outer) is send
    assert server_send(send) is send


async def test_another_server_gets_the_plain_writer(socket, monkeypatch):
    """Also where daphne is loaded, and is not the one."""
    assert type(make_writer(socket.send, print)) is Writer
    monkeypatch.delitem(sys.modules, "daphne.ws_protocol", raising=False)
    assert type(make_writer(socket.send, print)) is Writer
    on_server_stop(print)
    assert servers.__all__ == ["has_arrived", "make_reader", "make_writer", "on_server_stop"]
