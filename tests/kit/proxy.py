"""A TCP proxy that gets in the way: it cuts, resets, goes silent, and holds in either direction."""

import asyncio
import contextlib
import socket
import struct
from urllib.parse import urlsplit

from tests.kit.threads import Threaded

#: Towards the target, and towards the client.
UP, DOWN = "up", "down"


class _Link:
    """One client's connection and the one to the target that belongs to it."""

    def __init__(self, client, target):
        self.writers = {UP: target[1], DOWN: client[1]}
        self.readers = {UP: client[0], DOWN: target[0]}
        self.silent = set()
        self.answers = asyncio.Event()
        self.answers.set()

    def end(self, *, reset=False):
        """Drop both connections."""
        for writer in self.writers.values():
            if reset and (bare := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):  # already closed
                    bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy(Threaded):
    """Stands before a server: ``with Proxy(redis.url) as proxy``, to be reached at `proxy.url`.

    It lives in a thread of its own, so that it serves sync and async tests alike; what a method
    asks for is in force when the method returns. Patterns are bytes, looked for in each piece that
    comes.

    Args:
        target: a URL, or a port of this machine; may be set anew, for connections to come.
    """

    def __init__(self, target):
        self.target = target
        #: What came and was not passed on at once: towards the target, towards the client.
        self.held, self.held_back = b"", b""
        #: How many connections were accepted; how many `cut_at` has cut.
        self.accepted = self.cuts = 0
        #: Whether an answer is being held by `hold_answers_to`.
        self.is_holding = False
        self._is_refusing = False
        self._hold_at = {UP: None, DOWN: None}
        self._cut_at = self._hold_answers_to = None
        self._links = {}
        self._flowing = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self._release((UP, DOWN))

    # --- where it is ------------------------------------------------------------------------

    @property
    def target(self):
        """The (host, port) behind it."""
        return self._target.hostname, self._target.port

    @target.setter
    def target(self, target):
        url = f"tcp://127.0.0.1:{target}" if isinstance(target, int) else target
        self._target = urlsplit(url)

    @property
    def url(self):
        """The target's URL, but with the proxy's address."""
        login, at, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{login}{at}127.0.0.1:{self.port}").geturl()

    @property
    def http(self):
        """The address of a site behind it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self):
        """The address of the socket of a site behind it."""
        return f"ws://127.0.0.1:{self.port}/ws"

    # --- connections ------------------------------------------------------------------------

    def cut(self):
        """Close all connections; new ones work."""
        self.do(self._end)

    def reset(self):
        """End all connections with an RST; new ones work."""
        self.do(self._end, reset=True)

    def go_silent(self, *directions):
        """Pass nothing over the present connections, which stay open: both ways, or one."""
        self.do(self._go_silent, directions or (UP, DOWN))

    def refuse(self):
        """Drop new connections as soon as they come, until `accept`."""
        self._is_refusing = True

    def accept(self):
        """Let new connections pass again."""
        self._is_refusing = False

    def cut_at(self, pattern):
        """Cut each connection over which this is sent towards the target; None: no more."""
        self._cut_at = pattern

    # --- what flows -------------------------------------------------------------------------

    def hold(self, direction=UP):
        """Keep what is sent, in `held` or `held_back`, until it is released."""
        self.do(self._hold, direction)

    def hold_at(self, pattern, direction=UP):
        """Hold from the place where this comes next."""
        self._hold_at[direction] = pattern

    def hold_answers_to(self, pattern):
        """Hold the answers on a connection from when this was sent over it, until `release`."""
        self._hold_answers_to = pattern

    def release(self, *directions):
        """Send what was held, and let everything flow: in these directions, or in both."""
        self.do(self._release, directions or (UP, DOWN))

    # --- inside -----------------------------------------------------------------------------

    async def close(self):
        """End all connections."""
        self._release((UP, DOWN))
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, *, reset=False):
        for link in filter(None, self._links.values()):
            link.end(reset=reset)

    def _go_silent(self, directions):
        for link in filter(None, self._links.values()):
            link.silent.update(directions)

    def _hold(self, direction):
        self._flowing[direction].clear()

    def _release(self, directions):
        for direction in directions:
            self._flowing[direction].set()
        if DOWN in directions:
            self._hold_answers_to = None
            for link in filter(None, self._links.values()):
                link.answers.set()

    async def serve(self, *client):
        """Pass on what one client sends, and the answers."""
        self.accepted += 1
        task, link = asyncio.current_task(), None
        self._links[task] = None
        try:
            if self._is_refusing:
                return
            with contextlib.suppress(OSError):
                self._links[task] = link = _Link(
                    client, await asyncio.open_connection(*self.target)
                )
                await asyncio.gather(self._pump(link, UP), self._pump(link, DOWN))
        except asyncio.CancelledError:
            pass  # the proxy is closed
        finally:
            del self._links[task]
            client[1].transport.abort()
            if link is not None:
                link.end()

    async def _pump(self, link, direction):
        reader, writer = link.readers[direction], link.writers[direction]
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if direction is UP and self._is_cut(data):
                    self.cuts += 1
                    return link.end()
                data = await self._held_up(link, direction, data)
                if direction not in link.silent:
                    writer.write(data)
                    await writer.drain()
        if direction not in link.silent:
            writer.close()

    def _is_cut(self, data):
        return self._cut_at is not None and self._cut_at in data

    async def _held_up(self, link, direction, data):
        """Wait as long as the data must not pass; return what is then to be sent."""
        if direction is UP and self._hold_answers_to and self._hold_answers_to in data:
            link.answers.clear()
        pattern = self._hold_at[direction]
        if pattern is not None and pattern in data:
            at = data.index(pattern)
            link.writers[direction].write(data[:at])
            data, self._hold_at[direction] = data[at:], None
            self._hold(direction)
        if not self._flowing[direction].is_set():
            if direction is UP:
                self.held += data
            else:
                self.held_back += data
            await self._flowing[direction].wait()
        if direction is DOWN and not link.answers.is_set():
            self.is_holding = True
            await link.answers.wait()
        return data
