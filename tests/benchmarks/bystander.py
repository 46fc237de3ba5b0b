"""A process that pings over a few sockets, one after the other, and notes each round trip.

It is apart from the load generator so that a pong is never read late because the generator was
busy with the storm: what is measured is the server (and the machine), not the client.
"""

import concurrent.futures
import json
import random
import select
import socket
import sys
import time

from tests.benchmarks import wire

PING = wire.frame(b'{"type": "ping"}')


class Bystander:
    """One blocking client socket."""

    def __init__(self, port: int, path: str, greeting: bytes | None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(wire.handshake(f"127.0.0.1:{port}", path))
        head = b""
        while wire.HEAD_END not in head:
            head += self.sock.recv(4096)
        self.rest = head.partition(wire.HEAD_END)[2]
        if greeting:
            self.wait_for(greeting)

    def wait_for(self, marker: bytes, timeout: float = 30) -> bool:
        """Read until a text frame holds `marker`; return False when it did not come in time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            frames, self.rest = wire.split(self.rest)
            if any(marker in payload for opcode, payload in frames if opcode == wire.TEXT):
                return True
            if select.select([self.sock], [], [], left)[0]:
                data = self.sock.recv(1 << 18)
                if not data:
                    raise ConnectionError("the server closed a bystander's socket")
                self.rest += data
        return False

    def drain(self, seconds: float) -> None:
        """Throw away for so long what comes, and answer the server's own pings."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.sock], [], [], left)[0]:
                self.rest += self.sock.recv(1 << 18)
            frames, self.rest = wire.split(self.rest)
            for opcode, payload in frames:
                if opcode == wire.PING:
                    self.sock.sendall(wire.frame(payload, wire.PONG))

    def ping(self, timeout: float) -> float:
        """Return the seconds from a ping to its pong, or `timeout` when none came."""
        started = time.monotonic()
        self.sock.sendall(PING)
        self.wait_for(b'"pong"', timeout)
        return time.monotonic() - started


def measure(bystanders: list[Bystander], seconds: float, pause: float) -> list[float]:
    """Ping on all sockets side by side for so long; every sample counts, the last ones too.

    Side by side, because one ping that waits long must not keep others from being asked.
    """
    end = time.monotonic() + seconds

    def repeat(bystander: Bystander) -> list[float]:
        times = []
        while time.monotonic() < end:
            times.append(bystander.ping(timeout=60))
            bystander.drain(pause * random.uniform(0.5, 1.5))
        return times

    with concurrent.futures.ThreadPoolExecutor(len(bystanders)) as pool:
        return [time for times in pool.map(repeat, bystanders) for time in times]


def main() -> None:
    """Connect, say so, then measure at each command line until standard input ends."""
    command = json.loads(sys.stdin.readline())
    greeting = command["greeting"] and command["greeting"].encode()
    bystanders = [Bystander(command["port"], path, greeting) for path in command["paths"]]
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps({"times": measure(bystanders, **command)}), flush=True)


if __name__ == "__main__":
    main()
