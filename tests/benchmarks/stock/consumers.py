"""The consumer of the tutorial, for signed-in users; and one with a presence key of its own."""

import asyncio
import contextlib

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from redis import asyncio as aioredis


class StockConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.user = self.scope["user"]
        if not self.user.is_authenticated:
            await self.close()
            return
        self.user_group_name = f"user_{self.user.pk}"
        await self.channel_layer.group_add(self.user_group_name, self.channel_name)
        await self.channel_layer.group_add("common", self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        if self.user.is_authenticated:
            await self.channel_layer.group_discard(self.user_group_name, self.channel_name)
            await self.channel_layer.group_discard("common", self.channel_name)

    async def receive_json(self, content):
        if content.get("type") == "ping":
            await self.send_json({"type": "pong"})

    async def chat_message(self, event):
        await self.send_json({"type": "data", "data": event["message"]})


class PresencePerConnectionConsumer(StockConsumer):
    """Presence as `bazis-ws` keeps it: a task for each connection, a SET every 5 seconds."""

    client = None

    async def connect(self):
        await super().connect()
        if PresencePerConnectionConsumer.client is None:
            # A pool that waits: redis-py's plain one raises when thousands wake at once.
            pool = aioredis.BlockingConnectionPool.from_url(
                settings.REDIS_URL, max_connections=50, timeout=None
            )
            PresencePerConnectionConsumer.client = aioredis.Redis(connection_pool=pool)
        self.presence_task = asyncio.ensure_future(self.keep_present())

    async def disconnect(self, close_code):
        self.presence_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.presence_task
        await super().disconnect(close_code)

    async def keep_present(self):
        while True:
            await self.client.set(f"user_ws::{self.user.pk}", 1, ex=10)
            await asyncio.sleep(5)
