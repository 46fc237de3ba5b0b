"""One connection's parts around a socket that only writes down."""

import asyncio

import pytest

from bazis_ws_channels.connection.guard import Guard
from bazis_ws_channels.connection.line import Line
from bazis_ws_channels.connection.tasks import Tasks
from bazis_ws_channels.presence.stores import forget_store
from tests.unit.peers import Socket


@pytest.fixture(autouse=True)
def new_store():
    """Presence in the process, empty."""
    forget_store()
    yield
    forget_store()


@pytest.fixture
async def socket():
    """The client."""
    return Socket()


class Told:
    """What a guard tells: ``fail`` or ``end``, code, close code."""

    def __init__(self):
        self.calls, self.details = [], []

    async def fail(self, code, detail, close=None):
        """Tell the client."""
        self.calls.append(("fail", code, close))

    async def end(self, code, detail, close=None):
        """End the session."""
        self.calls.append(("end", code, close))
        self.details.append(detail)


@pytest.fixture
async def told():
    """What the guard told."""
    return Told()


@pytest.fixture
async def tasks(told):
    """Tasks under that guard."""
    tasks = Tasks()
    tasks.guard = Guard(told.fail, told.end, lambda: {"user": 1, "session": "x"})
    yield tasks
    await tasks.cancel()


@pytest.fixture
async def line(socket, tasks):
    """An open line to the client."""
    line = Line(socket.send, tasks)
    line.open()
    yield line
    line.abandon()


@pytest.fixture
def frames(socket):
    """Return the text frames sent so far, once all that is ready has run."""

    async def frames():
        for _ in range(20):
            await asyncio.sleep(0)
        return [event["text"] for event in socket.sent if "text" in event]

    return frames
