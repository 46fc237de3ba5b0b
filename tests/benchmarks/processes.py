"""Start, ask, watch and end the processes of a run, each held by its handle."""

import contextlib
import http.client
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

__all__ = [
    "ROOT",
    "Server",
    "Worker",
    "cpu_seconds",
    "on_one_core",
    "raise_file_limit",
    "rss_kib",
]

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


def raise_file_limit() -> None:
    """Allow as many open files as the machine lets us: thousands of sockets on either side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def rss_kib(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError(f"process {pid!r} shows no VmRSS")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def on_one_core(pids):
    """Keep processes on one core of the processor, where the system can.

    Otherwise the kernel chooses, for each publisher anew and for as long as it likes, whether it
    shares a core with Redis, and that alone doubles or halves a round trip.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        for pid in pids:
            os.sched_setaffinity(pid, {min(cores)})
    yield
    if hasattr(os, "sched_setaffinity"):
        for pid in pids:
            os.sched_setaffinity(pid, cores)


class Process:
    """A child process that is ended at exit of the `with` block, gently and then by force."""

    def __init__(self, arguments: list[str], environment: dict[str, str], **options):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        command = [sys.executable, *arguments]
        self.popen = subprocess.Popen(command, env=environment, cwd=ROOT, **options)
        self.pid = self.popen.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        """End the process; two seconds of grace, because the sockets are gone already."""
        if self.popen.stdin:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()
        self.popen.terminate()
        try:
            self.popen.wait(2)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)


class Worker(Process):
    """A helper process that takes and gives JSON lines."""

    def __init__(self, module: str, environment: dict[str, str] | None = None, *arguments: str):
        super().__init__(
            ["-m", f"tests.benchmarks.{module}", *arguments],
            environment or {},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.buffer = b""

    def ask(self, timeout: float = 120, **command) -> dict:
        """Send a command and return its first answer."""
        self.tell(**command)
        return self.answer(timeout)

    def tell(self, **command) -> None:
        """Send a command without waiting for its answer."""
        self.popen.stdin.write(json.dumps(command).encode() + b"\n")
        self.popen.stdin.flush()

    def poll(self) -> dict | None:
        """Return the next answer line if there is one."""
        if b"\n" not in self.buffer and not select.select([self.popen.stdout], [], [], 0)[0]:
            return None
        return self.answer()

    def answer(self, timeout: float = 120) -> dict:
        """Return the next answer line."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.popen.stdout], [], [], left)[0]:
                raise TimeoutError(f"{self.popen.args!r} gave no answer in {timeout} s")
            data = os.read(self.popen.stdout.fileno(), 1 << 20)
            if not data:
                raise RuntimeError(f"{self.popen.args!r} ended with {self.popen.wait(5)!r}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)


class Server(Process):
    """A server on a free loopback port.

    The harness makes the listening socket and hands it down, so that no port can be taken in
    between and every server has the same backlog.
    """

    def __init__(self, arguments, environment: dict[str, str], log: Path):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.log = log
        fd = self.listener.fileno()
        with log.open("ab") as output:
            super().__init__(
                arguments(fd),
                environment,
                pass_fds=[fd],
                stdout=output,
                stderr=output,
            )
        self.listener.close()
        self.wait_ready()

    def wait_ready(self, timeout: float = 30) -> None:
        """Wait until the server answers a request: the listening socket alone says nothing."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.stats()
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-4000:]}")

    def stats(self, collect: bool = False) -> dict:
        """Ask the server for its counters; `collect` runs the garbage collector first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/stats?collect" if collect else "/stats")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()
