"""A crowd of clients that lost their server: each comes back by client.js's own policy.

One process, one epoll loop, driven by JSON lines as the load generator is. ``come`` starts the
clients; the answer says when each was live, what they were told, and how the closed ones ended.
"""

import collections
import contextlib
import errno
import heapq
import json
import os
import random
import select
import socket
import sys
import time

from tests.benchmarks import wire

#: client.js: `minDelayMs`, `maxDelayMs`, `openTimeoutMs`.
SHORTEST, LONGEST, OPENING = 0.5, 20.0, 15.0


class Visitor:
    """One client: connects, waits for `subscribed`, comes back when it is closed."""

    __slots__ = ("attempts", "data", "gate", "is_live", "live_at", "number", "path", "sock")

    def __init__(self, number, path):
        self.number, self.path = number, path
        self.attempts, self.sock, self.data = 0, None, b""
        self.gate, self.is_live, self.live_at = 0, False, None


class Crowd:
    """All of them."""

    def __init__(self):
        self.epoll = select.epoll()
        self.epoll.register(0, select.EPOLLIN)
        self.by_fd = {}
        self.timers = []
        self.codes = collections.Counter()
        self.errors = collections.Counter()
        self.live, self.wanted, self.tries = 0, 0, 0
        self.lost_at = []
        self.port, self.deadline, self.started = 0, None, 0.0

    def run(self):
        """Serve until standard input ends."""
        while True:
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                _, _, visitor, gate = heapq.heappop(self.timers)
                if gate == visitor.gate:
                    self.due(visitor)
            wait = min(0.1, max(0.0, self.timers[0][0] - now)) if self.timers else 0.1
            for fd, event in self.epoll.poll(wait):
                if fd == 0:
                    line = sys.stdin.buffer.readline()
                    if not line:
                        return
                    command = json.loads(line)
                    getattr(self, "do_" + command.pop("do"))(**command)
                elif fd in self.by_fd:
                    self.ready(self.by_fd[fd], event)
            if self.deadline and (self.live == self.wanted or time.monotonic() > self.deadline):
                self.deadline = None
                self.say_come()

    # --- commands ---------------------------------------------------------------------------

    def do_come(self, port, paths, spread, seconds):
        """Come within `spread` seconds; answer when all are live, or `seconds` are over."""
        self.port, self.wanted = port, len(paths)
        self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.visitors = [Visitor(number, path) for number, path in enumerate(paths)]
        for visitor in self.visitors:
            self.later(visitor, random.uniform(0, spread))

    def say_come(self):
        """Answer ``come``."""
        at = sorted(v.live_at - self.started for v in self.visitors if v.is_live)
        self.say(live=self.live, times=at, tries=self.tries, **self.told())

    def do_await_end(self, seconds):
        """Answer when all sockets have ended (without coming back), or `seconds` are over."""
        self.wanted = -1
        began = time.monotonic()
        self.codes.clear()
        while self.by_fd and time.monotonic() - began < seconds:
            for fd, event in self.epoll.poll(0.1):
                if fd in self.by_fd:
                    self.ready(self.by_fd[fd], event)
        times = sorted(at - began for at in self.lost_at if at >= began)
        self.say(open=len(self.by_fd), times=times, **self.told())

    def told(self):
        """Return what the clients heard."""
        return {"codes": dict(self.codes), "errors": dict(self.errors)}

    def say(self, **values):
        """Write one answer line."""
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()

    # --- one client -------------------------------------------------------------------------

    def later(self, visitor, seconds):
        """Look at a client again after so long."""
        visitor.gate += 1
        at = time.monotonic() + seconds
        heapq.heappush(self.timers, (at, visitor.number, visitor, visitor.gate))

    def due(self, visitor):
        """Connect, or give up a handshake that takes too long."""
        if visitor.sock is not None:
            if not visitor.is_live:
                self.end(visitor, "opening timed out")
            return
        self.tries += 1
        visitor.sock = sock = socket.socket()
        sock.setblocking(False)
        code = sock.connect_ex(("127.0.0.1", self.port))
        if code not in (0, errno.EINPROGRESS):
            return self.end(visitor, os.strerror(code))
        visitor.data = b""
        self.by_fd[sock.fileno()] = visitor
        self.epoll.register(sock.fileno(), select.EPOLLOUT)
        self.later(visitor, OPENING)

    def ready(self, visitor, event):
        """Send the handshake, or read."""
        try:
            if event & select.EPOLLOUT:
                visitor.sock.send(wire.handshake(f"127.0.0.1:{self.port}", visitor.path))
                self.epoll.modify(visitor.sock.fileno(), select.EPOLLIN)
                return
            data = visitor.sock.recv(65536)
        except OSError as error:
            return self.end(visitor, error.strerror)
        if not data:
            return self.end(visitor, "1006")
        visitor.data += data
        self.read(visitor)

    def read(self, visitor):
        """Act on what the server said."""
        if visitor.data.startswith(b"HTTP"):
            head, found, rest = visitor.data.partition(wire.HEAD_END)
            if not found:
                return
            if b" 101 " not in head[:20]:
                return self.end(visitor, head[9:12].decode())
            visitor.data = rest
            self.later(visitor, 60)  # open: the token is the server's business now
        frames, visitor.data = wire.split(visitor.data)
        retry_after = None
        for opcode, payload in frames:
            if opcode == wire.PING:
                visitor.sock.send(wire.frame(payload, wire.PONG))
            elif opcode == wire.CLOSE:
                with contextlib.suppress(OSError):
                    visitor.sock.send(wire.frame(payload, wire.CLOSE))
                code = str(int.from_bytes(payload[:2], "big"))
                return self.end(visitor, code, retry_after)
            elif b'"subscribed"' in payload and not visitor.is_live:
                visitor.is_live, visitor.live_at, visitor.attempts = True, time.monotonic(), 0
                visitor.gate += 1
                self.live += 1
            elif b'"error"' in payload:
                message = json.loads(payload)
                self.errors[message["code"]] += 1
                retry_after = message.get("retry_after")

    def end(self, visitor, why, retry_after=None):
        """Forget the socket, and come back as client.js does."""
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.by_fd.pop(visitor.sock.fileno(), None)
            self.epoll.unregister(visitor.sock.fileno())
        visitor.sock.close()
        visitor.sock = None
        self.codes[why] += 1
        self.lost_at.append(time.monotonic())
        self.live -= visitor.is_live
        visitor.is_live = False
        if self.wanted < 0:
            return
        visitor.attempts += 1
        ceiling = min(LONGEST, SHORTEST * 2**visitor.attempts)
        self.later(visitor, retry_after or SHORTEST + random.random() * (ceiling - SHORTEST))


if __name__ == "__main__":
    Crowd().run()
