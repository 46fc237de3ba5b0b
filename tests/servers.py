"""Server processes on free loopback ports, ended by the handle that is held."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parent.parent


def free_port():
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process; its output goes to a file."""

    ready = ""

    def __init__(self, settings=(), env=None):
        self.port = free_port()
        self._is_ready = threading.Event()
        self._lines = []
        self.process = subprocess.Popen(
            self.command(),
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "TEST_SETTINGS": json.dumps(dict(settings)),
                "PYTHONUNBUFFERED": "1",
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def command(self):
        """Return the command line."""
        raise NotImplementedError

    def wait_until_ready(self):
        """Wait until the server says that it listens."""
        if not self._is_ready.wait(30):
            raise AssertionError(f"{type(self).__name__} did not start:\n{self.log}")

    @property
    def log(self):
        """What the server has printed."""
        return "".join(self._lines)

    @property
    def tracebacks(self):
        """How many tracebacks the server has printed."""
        return self.log.count("Traceback (most recent call last)")

    @property
    def pid(self):
        """The process id."""
        return self.process.pid

    @property
    def ws(self):
        """The socket's address."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def http(self):
        """The site's address."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        """Kill the process: no clean-up."""
        self.process.kill()
        self.process.wait()

    def terminate(self):
        """Ask the process to end."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=15):
        """Wait until it has ended; return the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def stop(self):
        """End the process, whatever it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()

    @property
    def memory_bytes(self):
        """Resident memory, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def _read(self):
        for line in self.process.stdout:
            self._lines.append(line)
            if self.ready in line:
                self._is_ready.set()


class Daphne(Server):
    """daphne, as a deployment starts it."""

    ready = "Listening on TCP address"

    def command(self):
        """Return the command line."""
        endpoint = f"tcp:{self.port}:interface=127.0.0.1:backlog=1024"
        return [sys.executable, "-m", "daphne", "-e", endpoint, "tests.project.asgi:application"]


class Uvicorn(Server):
    """uvicorn."""

    ready = "Uvicorn running on"

    def command(self):
        """Return the command line."""
        return [
            *(sys.executable, "-m", "uvicorn", "tests.project.asgi:application"),
            *("--port", str(self.port), "--no-access-log"),
        ]
