"""An app that writes down whatever presence tells, for all processes of a fleet."""

import json
import os

import redis
from django.apps import AppConfig

TOLD = "tests.fleet.told"


class FleetConfig(AppConfig):
    """Connects the receiver."""

    name = "tests.fleet"

    def ready(self):
        """Connect it."""
        from bazis_ws_channels.signals import user_offline, user_online

        user_online.connect(_note)
        user_offline.connect(_note)


def _note(signal, user_id, at, **kwargs):
    from bazis_ws_channels.signals import user_online

    client = redis.Redis.from_url(os.environ["TEST_EDGES"])
    note = [user_id, signal is user_online, at.isoformat(), os.getpid()]
    client.rpush(TOLD, json.dumps(note))
    client.close()
