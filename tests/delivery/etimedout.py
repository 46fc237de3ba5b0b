"""Let the subscriptions' socket end with ETIMEDOUT, and say whether the event loop survives it.

Run by `test_layers.py` as a process, for the loop may freeze: ``etimedout.py <module> <url>``.
"""

import asyncio
import contextlib
import errno
import importlib
import os
import sys
import threading
import time

from redis.exceptions import RedisError


def transports():
    """Return the transports of all connections that the running event loop has."""
    return list(asyncio.get_running_loop()._transports.values())


class Watchdog(threading.Thread):
    """Ends the process when the loop burns a second of processor time without a turn."""

    def __init__(self):
        super().__init__(daemon=True)
        self.fed_at = time.process_time()

    def run(self):
        while time.process_time() - self.fed_at < 1:
            threading.Event().wait(0.05)
        os.write(1, b"frozen\n")
        os._exit(0)


async def main(module, url):
    """Subscribe, inject the error, see whether a message still arrives."""
    layer = importlib.import_module(module).RedisPubSubChannelLayer(hosts=[url])
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    watchdog = Watchdog()
    watchdog.start()
    await probe(layer, channel, watchdog)
    for transport in transports():
        # What asyncio does when `recv` raises, as it does when TCP gives up on a peer.
        transport._fatal_error(OSError(errno.ETIMEDOUT, "Connection timed out"))
    await probe(layer, channel, watchdog)
    os.write(1, b"alive\n")
    await layer.flush()


async def probe(layer, channel, watchdog):
    """Publish until a message comes."""
    receiving = asyncio.ensure_future(layer.receive(channel))
    while not receiving.done():
        watchdog.fed_at = time.process_time()
        with contextlib.suppress(OSError, RedisError):
            await layer.group_send("g", {"type": "x"})
        await asyncio.wait({receiving}, timeout=0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
