"""An app whose receivers look closely at the presence signals, and fail afterwards."""

import json
import os

import redis
from asgiref.sync import sync_to_async
from django.apps import AppConfig

DETAILS = "tests.details"


class ListenerConfig(AppConfig):
    """Connects the receivers."""

    name = "tests.presence"
    label = "listener"

    def ready(self):
        """Connect them: one is sync, one async."""
        from bazis_ws_channels.signals import user_offline, user_online

        user_online.connect(_describe)
        user_offline.connect(_adescribe)


def _describe(sender, user_id, user, at, **kwargs):
    details = [sender.__name__, user_id, user.username, at.isoformat()]
    client = redis.Redis.from_url(os.environ["TEST_EDGES"])
    client.rpush(DETAILS, json.dumps(details))
    client.close()
    raise RuntimeError("a bug in a receiver")


async def _adescribe(**kwargs):
    await sync_to_async(_describe)(**kwargs)
