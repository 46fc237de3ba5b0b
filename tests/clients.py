"""A WebSocket client that reads JSON, by `websockets`."""

import asyncio
import contextlib
import json

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

#: Nothing here is a claim about speed: only the end of a test that would wait for ever.
PATIENCE_SECONDS = 20


class Client:
    """One connection: ``async with Client(server.ws, token) as client``."""

    def __init__(self, url, token=None, **options):
        self.url = url if token is None else f"{url}?token={token}"
        self.options = {"max_size": None, "max_queue": None, "compression": None, **options}
        self.socket = None
        self.seen = []

    async def __aenter__(self):
        self.socket = await connect(self.url, **self.options)
        return self

    async def __aexit__(self, *exc):
        await self.socket.close()

    async def send(self, message):
        """Send an object as JSON; a str or bytes as it is."""
        raw = isinstance(message, str | bytes)
        await self.socket.send(message if raw else json.dumps(message))

    async def receive(self):
        """Return the next message."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = json.loads(await self.socket.recv())
        self.seen.append(message)
        return message

    async def receive_type(self, kind):
        """Return the next message of a type; others before it are kept in `seen`."""
        while (message := await self.receive())["type"] != kind:
            pass
        return message

    async def subscribed(self):
        """Wait until the session is live."""
        return await self.receive_type("subscribed")

    async def data(self):
        """Return the next published value."""
        return (await self.receive_type("data"))["data"]

    async def settle(self):
        """Return all messages that were on their way, by a ping behind them."""
        await self.send({"type": "ping"})
        before = len(self.seen)
        await self.receive_type("pong")
        return self.seen[before:-1]

    async def closed(self):
        """Wait until the server closes; return the code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    self.seen.append(json.loads(await self.socket.recv()))
        return self.socket.close_code


async def until(condition, seconds=PATIENCE_SECONDS):
    """Wait until `condition()`, which may be a coroutine function, holds."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return result
            await asyncio.sleep(0.02)
