"""The load generator: one process, one epoll loop, any number of sockets.

It reads frame headers only: no payload is decoded, no JSON is parsed and no task or coroutine
exists for a socket, so that it costs a few microseconds for each read. It is driven by JSON lines
on standard input and answers with JSON lines. All times are CLOCK_MONOTONIC, which processes on
one machine share.
"""

import collections
import contextlib
import json
import os
import select
import socket
import sys
import time

from tests.benchmarks import wire

HANDSHAKE, GREETING, OPEN, CLOSED = range(4)
READ_BYTES = 1 << 18


class Connection:
    """One client socket."""

    __slots__ = ("code", "fd", "frames", "greeting", "rest", "sock", "started", "state")

    def __init__(self, port: int, path: str, greeting: bytes | None):
        self.started = time.monotonic()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(wire.handshake(f"127.0.0.1:{port}", path))
        self.sock.setblocking(False)
        self.fd = self.sock.fileno()
        self.greeting = greeting
        self.state, self.rest, self.frames, self.code = HANDSHAKE, b"", 0, "refused"

    def feed(self, data: bytearray, size: int) -> int:
        """Count the whole text frames in the first `size` bytes of `data`: the hot path."""
        if self.rest:
            data = self.rest + data[:size]
            size = len(data)
            self.rest = b""
        position, texts = 0, 0
        while size - position >= 2:
            length, start = data[position + 1], position + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if start > size:
                    break
                length = int.from_bytes(data[position + 2 : start], "big")
            end = start + length
            if end > size:
                break
            opcode = data[position] & 15
            if opcode == wire.TEXT:
                texts += 1
            else:
                self.control(opcode, bytes(data[start:end]))
            position = end
        if position < size:
            self.rest = bytes(data[position:size])
        self.frames += texts
        return texts

    def control(self, opcode: int, payload: bytes) -> None:
        """Answer a ping, or note that the server closes."""
        if opcode == wire.PING:
            with contextlib.suppress(OSError):
                self.sock.send(wire.frame(payload, wire.PONG))
        elif opcode == wire.CLOSE:
            self.state, self.code = CLOSED, int.from_bytes(payload[:2], "big")

    def begin(self, data: bytes) -> bool:
        """Take bytes before the connection is open; return whether it is open now."""
        self.rest += data
        if self.state == HANDSHAKE:
            head, found, tail = self.rest.partition(wire.HEAD_END)
            if not found:
                return False
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.state = CLOSED
                return False
            self.state, self.rest = GREETING, tail
        frames, self.rest = wire.split(self.rest)
        for opcode, payload in frames:
            if opcode != wire.TEXT:
                self.control(opcode, payload)
            elif self.greeting and self.greeting in payload:
                self.greeting = None
        if self.greeting is None and self.state == GREETING:
            self.state = OPEN
        return self.state == OPEN


class Generator:
    """All connections of the process, and the command that is under way."""

    def __init__(self):
        self.epoll = select.epoll()
        self.epoll.register(0, select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.closed: collections.Counter = collections.Counter()
        self.inbox = b""
        self.job = None
        self.received, self.total = 0, float("inf")
        # One buffer for all reads: a fresh one for each would cost more than the read.
        self.buffer = bytearray(READ_BYTES)

    def run(self) -> None:
        """Serve until standard input ends."""
        while True:
            if self.job and self.job.get("rest"):
                time.sleep(self.job["rest"])
            events = self.epoll.poll(0.05 if self.job else 1)
            for fd, _ in events:
                if fd == 0:
                    if not self.commands():
                        return
                else:
                    self.readable(fd)
            if self.job and time.monotonic() > self.job["deadline"]:
                self.job["late"](timed_out=True)

    def commands(self) -> bool:
        """Read command lines; return False when the driver is gone."""
        data = os.read(0, 1 << 20)
        self.inbox += data
        while b"\n" in self.inbox:
            line, self.inbox = self.inbox.split(b"\n", 1)
            command = json.loads(line)
            getattr(self, "do_" + command.pop("do"))(**command)
        return bool(data)

    def readable(self, fd: int) -> None:
        """Read one socket once."""
        connection = self.connections.get(fd)
        if connection is None:
            return
        try:
            size = connection.sock.recv_into(self.buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.drop(connection, "eof")
        elif connection.state == OPEN:
            self.received += connection.feed(self.buffer, size)
            if self.received >= self.total:
                self.job["late"]()
        elif connection.begin(bytes(self.buffer[:size])):
            self.opened(connection)
        if connection.state == CLOSED:
            self.drop(connection, connection.code)

    def drop(self, connection: Connection, why: object) -> None:
        """Forget a connection and, while connecting, count it as failed."""
        if self.connections.pop(connection.fd, None) is None:
            return
        self.closed[str(why)] += 1
        self.epoll.unregister(connection.fd)
        connection.sock.close()
        if connection.state != OPEN and self.job and "paths" in self.job:
            self.job["failed"] += 1
            self.next_connection()

    # connect ---------------------------------------------------------------------------------

    def do_connect(self, port, paths, concurrency, greeting, timeout_seconds) -> None:
        """Open one socket for each path, so many at a time, and say how long it took."""
        self.job = {
            "port": port,
            "paths": paths[::-1],
            "greeting": greeting and greeting.encode(),
            "wanted": len(paths),
            "failed": 0,
            "times": [],
            "started": time.monotonic(),
            "cpu": time.process_time(),
            "deadline": time.monotonic() + timeout_seconds,
            "late": self.connected,
        }
        for _ in range(min(concurrency, len(paths))):
            self.next_connection()

    def next_connection(self) -> None:
        """Start the next connection of the job, or end the job."""
        job = self.job
        if job["failed"] + len(job["times"]) == job["wanted"]:
            self.connected()
        elif job["paths"]:
            connection = Connection(job["port"], job["paths"].pop(), job["greeting"])
            self.connections[connection.fd] = connection
            self.epoll.register(connection.fd, select.EPOLLIN)

    def opened(self, connection: Connection) -> None:
        """Note one connection as ready."""
        if self.job and "paths" in self.job:
            self.job["times"].append(time.monotonic() - connection.started)
            self.next_connection()

    def connected(self, timed_out=False) -> None:
        """Answer the connect command."""
        job, self.job = self.job, None
        self.answer(
            opened=len(job["times"]),
            failed=job["wanted"] - len(job["times"]),
            seconds=time.monotonic() - job["started"],
            cpu=time.process_time() - job["cpu"],
            times=sorted(job["times"]),
            timed_out=timed_out,
        )

    # receive ---------------------------------------------------------------------------------

    def do_expect(self, frames, timeout_seconds, rest=0.0) -> None:
        """Wait until every open socket has got `frames` text frames from now on.

        With `rest` the generator sleeps so many seconds between its reads, so that one read
        takes what has gathered. It is for bursts: the clients of a real server run on other
        machines, and here they would take the processor from the server for nothing.
        """
        for connection in self.connections.values():
            connection.frames = 0
        self.received, self.total = 0, frames * len(self.connections)
        self.job = {
            "frames": frames,
            "rest": rest,
            "sockets": len(self.connections),
            "deadline": time.monotonic() + timeout_seconds,
            "started": time.monotonic(),
            "cpu": time.process_time(),
            "late": self.expected,
        }
        self.answer(armed=True)

    def expected(self, timed_out=False) -> None:
        """Answer the expect command: when the last frame came, and whether each socket got all."""
        last = time.monotonic()
        job, self.job = self.job, None
        self.total = float("inf")
        counts = [c.frames for c in self.connections.values()] or [0]
        self.answer(
            last=last,
            received=self.received,
            exact=min(counts) == max(counts) == job["frames"],
            sockets=job["sockets"],
            lost=job["sockets"] - len(self.connections),
            cpu=time.process_time() - job["cpu"],
            wall=last - job["started"],
            timed_out=timed_out,
        )

    def do_status(self) -> None:
        """Say how many sockets are open and how others ended."""
        self.answer(open=len(self.connections), closed=dict(self.closed))

    def do_close(self) -> None:
        """Close every socket, politely."""
        for connection in list(self.connections.values()):
            with contextlib.suppress(OSError):
                connection.sock.send(wire.frame((1000).to_bytes(2, "big"), wire.CLOSE))
            self.epoll.unregister(connection.fd)
            connection.sock.close()
        self.connections.clear()
        self.closed.clear()
        self.answer(closed=True)

    def answer(self, **values) -> None:
        """Write one answer line."""
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Generator().run()
