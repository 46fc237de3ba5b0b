"""Server processes: started, read, asked for their port, stopped by the handle that is held."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: How long a process may take to say that it is ready, on a machine that does something else too.
START_SECONDS = 90


def environment(settings=(), env=()):
    """Return the environment of a process that has these Django settings beside the tests'."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_SETTINGS": json.dumps(dict(settings)),
        **dict(env),
    }


class Server:
    """A server process: ``with Daphne(settings) as server``; what it prints is kept in `log`.

    Args:
        settings: Django settings that this process has instead of those of `tests.settings`.
        env: environment variables, besides those of this process.
    """

    #: What a line holds when the process serves; a group `port` tells where.
    ready = re.compile("")

    def __init__(self, settings=(), env=None):
        self._settled = threading.Event()  # it is ready, or it has ended
        self._ready = None
        self._lines = []
        self.process = subprocess.Popen(
            self.command(),
            cwd=ROOT,
            env=environment(settings, {"PYTHONUNBUFFERED": "1", **(env or {})}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def command(self):
        """Return the command line, which asks for port 0."""
        raise NotImplementedError

    @staticmethod
    def python(*arguments):
        """Return the command line of a module: ``python("daphne", "-p", "0")``."""
        return [sys.executable, "-m", *arguments]

    # --- its start and its end --------------------------------------------------------------

    @property
    def is_ready(self):
        """Whether it has said that it serves."""
        return self._ready is not None

    def __enter__(self):
        try:
            self.wait_until_ready()
        except AssertionError:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()
        print(f"--- {self!r}\n{self.log}")  # if a test fails

    def wait_until_ready(self):
        """Wait until it says that it serves; fail as soon as it ends instead."""
        end = time.monotonic() + START_SECONDS
        # A child that lives on holds the pipe open: the end of output is not the only sign.
        while not self._settled.wait(0.1) and time.monotonic() < end:
            if self.process.poll() is not None:
                self._reader.join(1)
                break
        if not self.is_ready:
            raise AssertionError(f"{self!r} did not start:\n{self.log}")

    def terminate(self):
        """Ask the process to end."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        """Kill the process: no clean-up."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds=15):
        """Wait until it has ended; return the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def stop(self):
        """End the process, whatever it does; may be called again."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()

    # --- where it is and what it says -------------------------------------------------------

    @cached_property
    def port(self):
        """The port that the system gave it."""
        self.wait_until_ready()
        if "port" in self._ready.groupdict():
            return int(self._ready["port"])
        (port,) = listening_ports(self.pid)
        return port

    @property
    def ws(self):
        """The socket's address."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def http(self):
        """The site's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        """The output of the process."""
        return "".join(self._lines)

    @property
    def tracebacks(self):
        """How many tracebacks the process has printed."""
        return self.log.count("Traceback (most recent call last)")

    @property
    def pid(self):
        """The process id."""
        return self.process.pid

    @property
    def memory_bytes(self):
        """Resident memory, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def __repr__(self):
        return f"<{type(self).__name__}, process {self.pid}>"

    def _read(self):
        for line in self.process.stdout:
            self._lines.append(line)
            if not self.is_ready and (match := self.ready.search(line)):
                self._ready = match
                self._settled.set()
        self._settled.set()


def listening_ports(pid):
    """Return the TCP ports on which a process listens: for servers that don't say (Linux)."""
    links = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(each))
        except FileNotFoundError:
            continue  # closed meanwhile
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in links:
                ports.add(int(local.rpartition(":")[2], 16))
    return ports
