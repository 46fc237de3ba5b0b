"""What goes out on one connection."""

import asyncio
import json

from bazis_ws_channels.connection.line import Line


async def test_frames_go_in_order_up_to_the_close(line, socket):
    """Nothing behind it."""
    line.push("one")
    await line.fail("bad_message", "why")
    await line.fail("too_bad", "why", 4400)
    line.push("late")
    await line.close(4401)
    assert [event.get("text", event.get("code")) for event in socket.sent] == [
        "one",
        '{"type": "error", "code": "bad_message", "detail": "why"}',
        '{"type": "error", "code": "too_bad", "detail": "why"}',
        4400,
    ]
    assert line.is_closing


async def test_before_open_nothing_goes(socket, tasks):
    """The socket isn't accepted."""
    line = Line(socket.send, tasks)
    line.push("early")
    await line.close(4400)
    line.abandon()
    assert socket.sent == []


async def test_going_down(line, socket):
    """The close frame goes out; it is gone when nothing of it is left."""
    await line.go_down()
    assert socket.sent[-1] == {"type": "websocket.close", "code": 4503}
    assert not line.is_gone
    line.abandon()
    line.finish()
    assert line.is_gone


async def test_a_client_that_does_not_read_is_cut_off(line, socket, settings, caplog, monkeypatch):
    """By its bytes, with a line in the log."""
    caplog.set_level("INFO")
    monkeypatch.setattr("bazis_ws_channels.servers.writer._CLOSE_SECONDS", 0.01)
    settings.BAZIS_WS_SEND_BUFFER_BYTES = 10
    socket.is_reading.clear()
    for _ in range(3):
        line.push("x" * 8)
    assert "A client that doesn't read was cut off: user 1, session x" in caplog.text
    while not line.is_closing:
        await asyncio.sleep(0)
    assert json.dumps(socket.sent) == "[]"
