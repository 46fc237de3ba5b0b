"""One run: its Redis, its databases, its users, and the servers and clients made for it."""

import contextlib
import dataclasses
import os
import secrets
import statistics
import subprocess
import sys
import time
from pathlib import Path

from jose import jwt

from tests.benchmarks.processes import ROOT, Server, Worker

__all__ = ["KINDS", "Run", "generator", "median", "percentile"]

KINDS = ("floor", "stock", "ours")
GREETINGS = {"floor": None, "stock": None, "ours": '"subscribed"'}
TOKEN_SECONDS = 6 * 3600
#: Its `--ws-max-size`, as docs/servers.md has it: twice `BAZIS_WS_MAX_FRAME_BYTES`.
UVICORN_BYTES = str(2 * 64 * 1024)


def median(values) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values, share: float) -> float:
    """Return the value that `share` of all values do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclasses.dataclass
class Run:
    """The environment of every measurement."""

    redis_url: str
    folder: Path
    users: int
    kinds: tuple[str, ...] = KINDS
    quick: bool = False
    sizes: tuple[int, ...] = (100, 500, 2000)
    secret: str = dataclasses.field(default_factory=lambda: secrets.token_hex(32))
    profile: Path | None = None
    raw: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        expires = int(time.time()) + TOKEN_SECONDS
        self.tokens = [
            jwt.encode({"sub": f"u{i}", "exp": expires}, self.secret, algorithm="HS256")
            for i in range(1, self.users + 1)
        ]

    def environment(self, kind: str) -> dict[str, str]:
        """Return the environment of a process of this kind."""
        return {
            "BENCH_REDIS_URL": self.redis_url,
            "BENCH_FOLDER": str(self.folder),
            "BENCH_SECRET_KEY": self.secret,
            "DJANGO_SETTINGS_MODULE": f"tests.benchmarks.{kind}.settings",
        }

    def prepare(self) -> None:
        """Make the databases with their users."""
        for kind in set(self.kinds) - {"floor"}:
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.prepare", str(self.users)],
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment(kind)},
                cwd=ROOT,
                check=True,
                timeout=300,
            )

    def log(self, text: str) -> None:
        """Tell the person who waits what is going on."""
        print(text, file=sys.stderr, flush=True)

    def server(self, kind: str, server: str = "daphne", **environment: str) -> Server:
        """Start one server, ``daphne`` or ``uvicorn`` and its options; use it in a `with` block."""
        application = f"tests.benchmarks.{kind}.asgi:application"
        server, *options = server.split()
        commands = {
            "floor": lambda fd: ["-m", "tests.benchmarks.floor.server", str(fd)],
            "daphne": lambda fd: ["-m", "daphne", "-v", "0", "--fd", str(fd), application],
            "uvicorn": lambda fd: [
                *("-m", "uvicorn", "--fd", str(fd), "--lifespan", "off", "--log-level", "warning"),
                *("--ws-max-size", UVICORN_BYTES, *options, application),
            ],
        }
        command = commands["floor" if kind == "floor" else server]
        log = self.folder / f"{kind}-{server}.log"
        return Server(command, {**self.environment(kind), **environment}, log)

    def publisher(self, kind: str) -> Worker:
        """Start a process that publishes; use it in a `with` block."""
        return Worker("publisher", self.environment(kind), kind)

    def paths(self, kind: str, start: int, count: int, path: str = "/ws") -> list[str]:
        """Return the request paths of users, each with a token of its own."""
        if kind == "floor":
            return [path] * count
        return [f"{path}?token={token}" for token in self.tokens[start : start + count]]

    def connect(self, generator: Worker, server: Server, kind: str, **options) -> dict:
        """Open sockets, at most `concurrency` handshakes at a time.

        All of them must open, unless `strict` is false.
        """
        paths = self.paths(
            kind, options.get("start", 0), options["count"], options.get("path", "/ws")
        )
        result = generator.ask(
            timeout=400,
            do="connect",
            port=server.port,
            paths=paths,
            concurrency=options.get("concurrency", 50),
            greeting=GREETINGS[kind],
            timeout_seconds=300,
        )
        if result["failed"] and options.get("strict", True):
            closed = generator.ask(do="status")["closed"]
            raise RuntimeError(
                f"{result['failed']} of {len(paths)} sockets of {kind} did not open: {closed!r}\n"
                + server.log.read_text()[-2000:]
            )
        return result

    @contextlib.contextmanager
    def profiled(self, server: Server, kind: str, name: str):
        """Record a py-spy profile of a server when the run was asked for profiles."""
        if self.profile is None or kind != "ours":
            yield
            return
        target = self.profile / f"{name}.raw"
        arguments = ["record", "-p", str(server.pid), "-f", "raw", "-r", "250", "-o", str(target)]
        spy = subprocess.Popen(
            [str(Path(sys.executable).with_name("py-spy")), *arguments, "-d", "600"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        try:
            yield
        finally:
            spy.send_signal(2)
            spy.wait(30)


def generator() -> Worker:
    """Start a load generator; use it in a `with` block."""
    return Worker("loadgen")
