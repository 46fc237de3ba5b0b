"""An app whose receiver of presence signals takes its time."""

import time

from django.apps import AppConfig


class SlowConfig(AppConfig):
    """Connects the receiver."""

    name = "tests.presence"
    label = "slow"

    def ready(self):
        """Connect it before the others: they note what it has done."""
        from bazis_ws_channels.signals import user_offline

        user_offline.connect(_be_slow)


def _be_slow(**kwargs):
    time.sleep(0.03)  # as one that writes to a database; the server is stopped meanwhile
