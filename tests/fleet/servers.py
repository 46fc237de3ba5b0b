"""Server processes that are killed, ended and frozen, while others take their place."""

import asyncio
import signal

#: How long a process may take to end that was asked to, on a machine that does something else too.
END_SECONDS = 60


class Fleet:
    """Some servers that share a Redis: ``with Fleet(Daphne, settings, 3) as fleet``.

    Attributes:
        serving: those that clients may connect to.
        doubtful: ids of processes that were killed or frozen: what such a one was telling may be
            told again by another.
    """

    def __init__(self, kind, settings, size):
        self._kind, self._settings = kind, settings
        self.serving = [kind(settings) for _ in range(size)]
        self.doubtful = set()
        self._started = list(self.serving)
        self._tasks = set()

    def __enter__(self):
        for server in self.serving:
            server.wait_until_ready()
        return self

    def __exit__(self, *exc):
        for server in self._started:
            server.stop()

    # --- what is done to them ---------------------------------------------------------------

    async def kill(self, chance):
        """Kill one: no clean-up."""
        server = self._take(chance)
        if server is not None:
            self.doubtful.add(server.pid)
            await asyncio.to_thread(server.kill)
            self._later(self._replace())

    async def end(self, chance):
        """Ask one to end, as a deployment does."""
        server = self._take(chance)
        if server is not None:
            server.terminate()
            self._later(asyncio.to_thread(server.wait, END_SECONDS))
            self._later(self._replace())

    async def freeze(self, chance):
        """Stop one for a while, perhaps for longer than its lease: a machine without memory."""
        if self.serving:
            server = chance.choice(self.serving)
            self.doubtful.add(server.pid)
            server.process.send_signal(signal.SIGSTOP)
            self._later(self._thaw(server, chance.uniform(0, 3)))

    async def settle(self):
        """Wait until all that was begun is done."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    @property
    def log(self):
        """What all of them have printed."""
        return "".join(f"--- {server!r}\n{server.log}" for server in self._started)

    def _take(self, chance):
        """Return one that serves, and let nobody connect to it any more; None if it is the last."""
        if len(self.serving) < 2:
            return None
        server = chance.choice(self.serving)
        self.serving.remove(server)
        return server

    async def _replace(self):
        server = self._kind(self._settings)
        self._started.append(server)
        await asyncio.to_thread(server.wait_until_ready)
        self.serving.append(server)

    async def _thaw(self, server, seconds):
        await asyncio.sleep(seconds)
        server.process.send_signal(signal.SIGCONT)

    def _later(self, coroutine):
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
