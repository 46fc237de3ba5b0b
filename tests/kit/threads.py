"""An event loop in a thread of its own: what stands in the way of sync and async tests alike."""

import asyncio
import concurrent.futures
import threading

from tests.kit.waiting import PATIENCE_SECONDS


class Threaded:
    """A server in a thread: ``with Threaded() as server`` serves at `port`.

    A subclass has `serve`, a coroutine function for each connection, and may have `close`.
    """

    port = None

    async def serve(self, reader, writer):
        """Serve one connection."""
        raise NotImplementedError

    async def close(self):
        """End what is still being served."""

    def do(self, function, *args, **kwargs):
        """Call a function in the thread, and return when it is done."""
        done = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(function(*args, **kwargs)))
        done.result(PATIENCE_SECONDS)

    def stop_listening(self):
        """Take no more connections."""
        self._server.close()

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._wait(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc):
        self.do(self.stop_listening)
        self._wait(self.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine):
        done = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return done.result(PATIENCE_SECONDS)
