"""A client in the test's own process, which keeps a position as the protocol asks."""

import asyncio
import json

from channels.routing import URLRouter

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.routing import websocket_urlpatterns
from tests.kit import PATIENCE_SECONDS, Conversation

APPLICATION = JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))
IN_MEMORY = {"default": {"BACKEND": "bazis_ws_channels.layers.InMemoryChannelLayer"}}


def query_of(since):
    """Return a position as a handshake has it."""
    return f"{since['user']}~{since['common']}"


class Socket(Conversation):
    """One connection to the application: ``async with Socket(token, since) as socket``.

    Attributes:
        position: merged from all messages, as a client does it.
        seen: all messages.
    """

    def __init__(self, token=None, since=None, query="", application=APPLICATION):
        parts = [query] if query else []
        if token is not None and since is None:
            parts.append(f"token={token}")
        self._first = None
        if token is not None and since is not None:
            self._first = {"token": token, "since": since}
        self._scope = {
            "type": "websocket",
            "path": "/ws",
            "headers": [],
            "query_string": "&".join(parts).encode(),
            "subprotocols": [],
        }
        self._application = application
        self._inbound, self._outbound = asyncio.Queue(), asyncio.Queue()
        self._task = None
        self.position = {}
        self.seen = []
        self.closed_with = None

    async def open(self):
        """Connect, without waiting for anything."""
        self._inbound.put_nowait({"type": "websocket.connect"})
        run = self._application(self._scope, self._inbound.get, self._outbound.put)
        self._task = asyncio.create_task(run)
        if self._first is not None:
            await self.send(self._first)
        return self

    async def drop(self):
        """Lose the link."""
        self._inbound.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await asyncio.wait_for(self._task, PATIENCE_SECONDS)

    async def __aenter__(self):
        return await self.open()

    async def __aexit__(self, *exc):
        await self.drop()

    async def send(self, message):
        """Send an object."""
        self._inbound.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def receive(self):
        """Return the next message."""
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):  # a cancellation ends it, always
                event = await self._outbound.get()
            if event["type"] == "websocket.close":
                self.closed_with = event["code"]
                raise ConnectionError(f"closed with {event['code']}")
            if event["type"] == "websocket.send":
                break
        message = json.loads(event["text"])
        if message["type"] == "subscribed":
            self.position = {}
        self.position = {**self.position, **(message.get("position") or {})}
        self.seen.append(message)
        return message

    async def data(self):
        """Return the next message with data."""
        return await self.receive_type("data")

    async def several(self, count):
        """Return the values of the next messages with data."""
        return [(await self.data())["data"] for _ in range(count)]
