"""(j) Attacks by 100 sockets: the server's memory, a bystander's ping meanwhile, and the lease."""

import contextlib
import json
import select
import socket
import threading
import time
from importlib.util import find_spec

from tests.benchmarks import wire
from tests.benchmarks.processes import Worker, rss_kib
from tests.benchmarks.report import Row, bounded
from tests.benchmarks.run import GREETINGS, Run, percentile

SOCKETS, SECONDS = 100, 8
#: uvicorn with each of its implementations that is installed, on the event loop that it chooses.
SERVERS = (
    "daphne",
    "uvicorn --ws websockets-sansio",
    "uvicorn --ws websockets",
    *(["uvicorn --ws wsproto"] if find_spec("wsproto") else []),
)
COLLIDING = json.dumps(
    {"type": "watch", "users": [k * (2**61 - 1) for k in range(1, 2700)]}, separators=(",", ":")
).encode()
CHUNK = 50_000


def big(payload: bytes, opcode: int, fin: bool = True) -> bytes:
    """Return a masked frame of up to 64 KiB."""
    head = bytes([(128 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([128 | len(payload)]) + bytes(4) + payload
    return head + bytes([254]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


def fragments():
    """A message that never ends."""
    yield big(b"x" * CHUNK, wire.TEXT, fin=False)
    while True:
        yield big(b"x" * CHUNK, 0, fin=False)


def fragments_tiny():
    """The same in fragments of two bytes."""
    yield big(b"xx", wire.TEXT, fin=False)
    while True:
        yield big(b"xx", 0, fin=False) * 5000


def frames():
    """Frames as fast as they go."""
    while True:
        yield big(b'{"type": "watch", "users": []}' + b" " * CHUNK, wire.TEXT)


def frames_tiny():
    """Small ones."""
    while True:
        yield big(b'{"type":"ping"}', wire.TEXT) * 3000


def pings():
    """Pings; the pongs are read."""
    while True:
        yield big(b"", wire.PING) * 5000


def pings_unread():
    """Pings with 125 bytes; nothing is read."""
    while True:
        yield big(b"x" * 125, wire.PING) * 400


def colliding():
    """Lists of integers whose hashes are all the same."""
    while True:
        yield big(COLLIDING, wire.TEXT)


def watching():
    """200 users, again and again."""
    message = json.dumps({"type": "watch", "users": list(range(1, 200))}).encode()
    while True:
        yield big(message, wire.TEXT)


#: name -> (what each socket sends, whether it has a token, whether it reads)
ATTACKS = {
    "unfinished fragments": (fragments, False, True),
    "tiny fragments": (fragments_tiny, False, True),
    "50 KB frames": (frames, True, True),
    "tiny frames": (frames_tiny, True, True),
    "pings": (pings, False, True),
    "pings, nothing read": (pings_unread, False, False),
    "colliding integers": (colliding, True, True),
    "watch of 200 again": (watching, True, True),
}


class Attacker:
    """One socket; when it is closed it comes again after a second."""

    def __init__(self, port, path, payload, reads):
        self.port, self.path, self.payload, self.reads = port, path, payload, reads
        self.sock, self.rest, self.source, self.again = None, b"", None, 0.0

    def step(self):
        """Send what goes, read what is there."""
        if time.monotonic() < self.again:
            return
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            self.sock.sendall(wire.handshake(f"127.0.0.1:{self.port}", self.path))
            self.sock.setblocking(False)
            self.source, self.rest = self.payload(), b""
            self.again = time.monotonic() + 0.5  # the answer to the handshake
            return
        try:
            if self.reads:
                self.read()
            for _ in range(4):
                self.rest = self.rest or next(self.source)
                self.rest = self.rest[self.sock.send(self.rest) :]
        except BlockingIOError:
            return
        except OSError:
            self.sock.close()
            self.sock, self.again = None, time.monotonic() + 1

    def read(self):
        """Read what is there."""
        with contextlib.suppress(BlockingIOError):
            while len(data := self.sock.recv(1 << 16)) == 1 << 16:
                pass
            if not data:
                raise ConnectionError("closed")


def attack(run: Run, server_name: str, name: str) -> dict:
    """Attack a fresh server; a bystander pings."""
    payload, has_token, reads = ATTACKS[name]
    with run.server("ours", server_name) as server, Worker("bystander") as bystander:
        logged = len(server.log.read_text())
        paths = run.paths("ours", 0, 3)
        bystander.ask(port=server.port, paths=paths, greeting=GREETINGS["ours"])
        before = rss_kib(server.pid)
        paths = run.paths("ours", 10, SOCKETS) if has_token else ["/ws"] * SOCKETS
        crowd = [Attacker(server.port, path, payload, reads) for path in paths]
        stop, peak = threading.Event(), [before]

        def work():
            while not stop.is_set():
                for each in crowd:
                    with contextlib.suppress(OSError):
                        each.step()
                peak[0] = max(peak[0], rss_kib(server.pid))
                select.select([], [], [], 0.002)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            bystander.tell(seconds=SECONDS, pause=0.05)
            times = bystander.answer(120)["times"]
        finally:
            stop.set()
            thread.join()
        for each in crowd:
            if each.sock is not None:
                each.sock.close()
        log = server.log.read_text()[logged:]
    return {
        "leases_lost": log.count("The presence lease was lost"),
        "memory_mib": (peak[0] - before) / 1024,
        "p50_ms": percentile(times, 0.5) * 1e3,
        "p99_ms": percentile(times, 0.99) * 1e3,
    }


def measure(run: Run) -> list[Row]:
    """Measure each attack under each server."""
    rows, raw = [], run.raw.setdefault("attacks", {})
    for server in SERVERS[:2] if run.quick else SERVERS:
        for name in ATTACKS:
            try:
                got = raw[f"{server}: {name}"] = attack(run, server, name)
            except (RuntimeError, TimeoutError, ConnectionError) as error:
                run.log(f"  {server}: {name}: the bystander was lost: {error!r}")
                continue
            run.log(f"  {server}: {name}: {got}")
            rows.append(bounded(f"{name}, {server}: memory", "MiB", got["memory_mib"], 50))
            rows.append(
                bounded(
                    f"{name}, {server}: bystander's p99",
                    "ms",
                    got["p99_ms"],
                    250,
                    f"p50 {got['p50_ms']:.1f} ms",
                )
            )
            rows.append(bounded(f"{name}, {server}: leases", "lost", got["leases_lost"], 0))
    return rows
