"""A WebSocket client that reads JSON, by `websockets`: async, and sync for sync tests."""

import asyncio
import contextlib
import json

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as sync_connect

from tests.kit.waiting import PATIENCE_SECONDS

PING = {"type": "ping"}


def address(url, token):
    """Return the URL that brings a token, if there is one."""
    return url if token is None else f"{url}?token={token}"


def encoded(message):
    """Return an object as JSON; a str or bytes as it is."""
    return message if isinstance(message, str | bytes) else json.dumps(message)


class Conversation:
    """What one waits for on a connection that has `send`, `receive` and what was `seen`."""

    async def receive_type(self, kind):
        """Return the next message of a type; others before it are kept in `seen`."""
        while (message := await self.receive())["type"] != kind:
            pass
        return message

    async def subscribed(self):
        """Wait until the session is live."""
        return await self.receive_type("subscribed")

    async def settle(self):
        """Return all messages that were on their way, by a ping behind them."""
        await self.send(PING)
        before = len(self.seen)
        await self.receive_type("pong")
        return self.seen[before:-1]


class Client(Conversation):
    """One connection: ``async with Client(server.ws, token) as client``."""

    def __init__(self, url, token=None, **options):
        self.url = address(url, token)
        unlimited = {"max_size": None, "max_queue": None, "open_timeout": PATIENCE_SECONDS}
        self.options = {**unlimited, "compression": None, **options}
        self.socket = None
        self.seen = []

    async def __aenter__(self):
        self.socket = await connect(self.url, **self.options)
        return self

    async def __aexit__(self, *exc):
        await self.socket.close()

    async def send(self, message):
        """Send an object as JSON; a str or bytes as it is."""
        await self.socket.send(encoded(message))

    async def receive(self):
        """Return the next message."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = json.loads(await self.socket.recv())
        self.seen.append(message)
        return message

    async def data(self):
        """Return the next published value."""
        return (await self.receive_type("data"))["data"]

    async def watch(self, *users):
        """Watch users; return their statuses, ``[bool, ...]``, once the server has told them.

        What happens on another socket afterwards comes after that; before, it might be overtaken.
        """
        await self.send({"type": "watch", "users": [getattr(user, "pk", user) for user in users]})
        return [(await self.receive_type("presence"))["is_online"] for _ in users]

    async def closed(self):
        """Wait until the server closes; return the code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    self.seen.append(json.loads(await self.socket.recv()))
        return self.socket.close_code


class SyncClient:
    """The same for sync code: ``with SyncClient(server.ws, token) as client``."""

    def __init__(self, url, token=None, **options):
        self.url = address(url, token)
        unlimited = {"max_size": None, "open_timeout": PATIENCE_SECONDS}
        self.options = {**unlimited, "compression": None, **options}
        self.socket = None
        self.seen = []

    def __enter__(self):
        self._connection = sync_connect(self.url, **self.options)
        self.socket = self._connection.__enter__()
        return self

    def __exit__(self, *exc):
        self._connection.__exit__(*(exc or (None, None, None)))

    def send(self, message):
        """Send an object as JSON; a str or bytes as it is."""
        self.socket.send(encoded(message))

    def receive(self):
        """Return the next message."""
        message = json.loads(self.socket.recv(timeout=PATIENCE_SECONDS))
        self.seen.append(message)
        return message

    def receive_type(self, kind):
        """Return the next message of a type; others before it are kept in `seen`."""
        while (message := self.receive())["type"] != kind:
            pass
        return message

    def subscribed(self):
        """Wait until the session is live."""
        return self.receive_type("subscribed")

    def data(self):
        """Return the next published value."""
        return self.receive_type("data")["data"]

    def settle(self):
        """Return all messages that were on their way, by a ping behind them."""
        self.send(PING)
        before = len(self.seen)
        self.receive_type("pong")
        return self.seen[before:-1]

    def closed(self):
        """Wait until the server closes; return the code."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.receive()
        return self.socket.close_code
