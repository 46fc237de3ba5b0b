"""What only uvicorn needs."""

from types import SimpleNamespace

import pytest

from bazis_ws_channels.servers import uvicorn


class Protocol:
    """uvicorn's, with a configuration."""

    def __init__(self, **config):
        self.config, self.transport = SimpleNamespace(**config), None

    async def send(self, event):
        """ASGI's."""


class WsprotoProtocol(Protocol):
    """The one by wsproto."""

    __module__ = "uvicorn.protocols.websockets.wsproto_impl"


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(uvicorn, "_checked", set())


def test_large_compressed_messages_are_warned_of_once(caplog):
    """With what to do about it."""
    for _ in range(2):
        uvicorn.check_limit(Protocol(ws_per_message_deflate=True, ws_max_size=2**24).send)
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "--ws-max-size 131072" in caplog.text


def test_wsproto_has_no_limit(caplog):
    """It inflates first."""
    uvicorn.check_limit(WsprotoProtocol(ws_per_message_deflate=True, ws_max_size=100).send)
    assert "--ws-per-message-deflate false" in caplog.text


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(ws_per_message_deflate=False, ws_max_size=2**24),
        WsprotoProtocol(ws_per_message_deflate=False, ws_max_size=2**24),
        Protocol(ws_per_message_deflate=True, ws_max_size=131072),
        Protocol(),
    ],
)
def test_a_limit_that_will_do(protocol, caplog):
    """Or a server that has none."""
    uvicorn.check_limit(protocol.send)
    uvicorn.check_limit(print)
    assert not caplog.records


def test_cutting_a_connection():
    """Where there is one."""
    uvicorn.abort(print)
    uvicorn.abort(Protocol().send)
    protocol, cut = Protocol(), []
    protocol.transport = SimpleNamespace(abort=lambda: cut.append(True))
    uvicorn.abort(protocol.send)
    assert cut == [True]
