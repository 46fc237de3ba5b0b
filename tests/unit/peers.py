"""What stands at the edge of a unit: a scripted Redis, a client's socket."""

import asyncio
from collections import defaultdict, deque

from tests.kit.threads import Threaded

#: Replies of `FakeRedis`: say nothing; close the connection.
SILENCE, CUT = object(), object()


def resp(value):
    """Encode a reply (RESP 2)."""
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case str():
            return b"+%s\r\n" % value.encode()
        case bytes():
            return b"$%d\r\n%s\r\n" % (len(value), value)
        case list():
            return b"*%d\r\n%s" % (len(value), b"".join(map(resp, value)))
        case Exception():
            return b"-%s\r\n" % str(value).encode()
    raise TypeError(value)


class FakeRedis(Threaded):
    """A server that answers as the test says; in a thread, for async and blocking clients alike.

    Attributes:
        commands: what came after each connection's set-up, as lists of bytes.
        accepted: how many connections were accepted.
    """

    def __init__(self):
        self.commands = []
        self.accepted = 0
        self._script = defaultdict(deque)
        self._writers = set()

    @property
    def url(self):
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def names(self):
        """Return the names of the commands that came."""
        return [command[0] for command in self.commands]

    def answer(self, name, *replies):
        """Script the next replies to a command: values, exceptions, SILENCE or CUT."""
        self._script[name].extend(replies)

    def forget(self, name):
        """Answer a command as any server does."""
        self._script[name].clear()

    def cut(self):
        """Close all connections."""
        self.do(lambda: [writer.transport.abort() for writer in self._writers])

    def refuse(self):
        """Take no more connections."""
        self.do(self.stop_listening)

    def send(self, value):
        """Send something that nobody has asked for, over all connections."""
        self.do(lambda: [writer.write(resp(value)) for writer in self._writers])

    async def close(self):
        """Close all connections, and wait until they are."""
        for writer in tuple(self._writers):
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0)

    async def serve(self, reader, writer):
        """Answer one client."""
        self.accepted += 1
        self._writers.add(writer)
        try:
            while command := await _read(reader):
                if not self._answer(writer, command):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _answer(self, writer, command):
        """Write the scripted reply, else an ordinary one; False to close the connection."""
        name = command[0].decode().upper()
        if name == "CLIENT":
            writer.write(resp("OK"))
            return True
        self.commands.append([part.decode(errors="replace") for part in command])
        script = self._script[name]
        reply = script.popleft() if script else _ordinary(name, command)
        if reply is CUT:
            return False
        if isinstance(reply, tuple):  # several
            writer.write(b"".join(map(resp, reply)))
        elif reply is not SILENCE:
            writer.write(resp(reply))
        return True


async def _read(reader):
    """Read a command; None at the end."""
    head = await reader.readline()
    if not head:
        return None
    parts = []
    for _ in range(int(head[1:])):
        size = int((await reader.readline())[1:])
        parts.append((await reader.readexactly(size + 2))[:-2])
    return parts


def _ordinary(name, command):
    if name == "PING":
        return "PONG"
    if name == "ROLE":
        return [b"master", 0, []]
    if name == "CLUSTER":
        return Exception("ERR This instance has cluster support disabled")
    if name.endswith("SUBSCRIBE"):
        return tuple([name.lower().encode(), channel, 1] for channel in command[1:])
    return "OK"


class Socket:
    """A client's socket as the server side sees it: ASGI's `send`, and what was sent.

    Attributes:
        is_reading: an event; `send` waits while it is not set.
    """

    def __init__(self):
        self.sent = []
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self.fails = None

    async def send(self, event):
        """Take an event, once the client reads."""
        await self.is_reading.wait()
        if self.fails is not None:
            raise self.fails
        self.sent.append(event)
