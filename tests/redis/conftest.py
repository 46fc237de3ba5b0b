"""Fixtures: the project's settings for a Redis of a test's own."""

import pytest


@pytest.fixture
def use(settings):
    """Let this process use a Redis: ``use(url)``."""

    def use(url, **options):
        backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
        config = {"hosts": [url], **options}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}

    return use
