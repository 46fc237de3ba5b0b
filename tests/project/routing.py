"""Consumers of the test project."""

import asyncio
import os
import time

import redis.asyncio
from channels.db import database_sync_to_async
from django.urls import path

from bazis_ws_channels.consumers import UserWsConsumer
from bazis_ws_channels.protocol import BadMessage
from tests.project.models import User


class ProjectConsumer(UserWsConsumer):
    """A subclass as a project writes it: its own messages, some of which misbehave."""

    open_types = UserWsConsumer.open_types | {"hello"}
    anonymous_types = frozenset({"vote"})

    async def client_hello(self, content):
        """Answer anybody."""
        await self.send_json({"type": "hello", "user": getattr(self.session, "pk", None)})

    async def client_vote(self, content):
        """Take anybody's vote."""
        answer = {"type": "voted", "for": content["for"], "anonymous": self.session.is_anonymous}
        await self.send_json(answer)

    async def client_join(self, content):
        """Join a group of the channel layer."""
        await self.channel_layer.group_add(content["group"], self.channel_name)
        await self.send_json({"type": "joined"})

    async def session_started(self):
        """Note it, and take long for some."""
        pk, name = self.session.pk, getattr(self.session.user, "first_name", "")
        await note(f"started {pk}")
        try:
            if name == "slow starter":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            await note(f"cancelled {pk}")
            raise

    async def session_ended(self):
        """Note it, and fail for some."""
        await note(f"ended {self.session.pk}")
        if getattr(self.session.user, "first_name", "") == "bad ender":
            raise RuntimeError("a bug in project code")

    async def client_rename(self, content):
        """Change the user's first name, in the database."""
        if not isinstance(content.get("name"), str):
            raise BadMessage("`name` must be a string.")
        rename = User.objects.filter(pk=self.session.pk).aupdate
        await rename(first_name=content["name"])
        await self.send_json({"type": "renamed", "name": content["name"]})

    async def client_slow_query(self, content):
        """Keep the thread busy until something is pushed to the list `until` in Redis."""
        await database_sync_to_async(wait_for)(content["until"])
        await self.send_json({"type": "slow_query_done"})

    async def client_block(self, content):
        """Block the event loop for `seconds`, as bad project code does; leases run out."""
        time.sleep(content["seconds"])
        await self.send_json({"type": "block_done"})

    async def client_fail(self, content):
        """Fail."""
        raise RuntimeError("a bug in project code")

    async def order_shipped(self, event):
        """Forward an event of the channel layer."""
        await self.send_json({"type": "order", "number": event["number"]})

    async def order_failed(self, event):
        """Fail at an event of the channel layer."""
        raise RuntimeError("a bug in project code")


async def note(text):
    """Write down what happens to sessions, for tests that have asked for it."""
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as client:
        if await client.exists("test.life.wanted"):
            await client.rpush("test.life", text)


def wait_for(key):
    """Wait as a database does that takes its time."""
    with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=None) as client:
        assert client.blpop(key, timeout=20) is not None


project_urlpatterns = [path("project/", ProjectConsumer.as_asgi())]
