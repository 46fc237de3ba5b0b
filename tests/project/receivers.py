"""Write every presence edge to a Redis list, so that tests see those of all processes."""

import os

import redis
from django.dispatch import receiver

from bazis_ws_channels.signals import user_offline, user_online

EDGES = "tests.edges"


@receiver([user_online, user_offline])
def note(signal, user_id, **kwargs):
    """Append ``online:<pk>`` or ``offline:<pk>``."""
    if os.environ.get("TEST_EDGES"):
        name = "online" if signal is user_online else "offline"
        client = redis.Redis.from_url(os.environ["TEST_EDGES"])
        client.rpush(EDGES, f"{name}:{user_id}")
        client.close()
