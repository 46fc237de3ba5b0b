"""Fixtures: Redis servers of a test's own, and the project's settings for them."""

import pytest

from tests.kit import Redis


@pytest.fixture
def make_valkey():
    """Start Redis servers of the test's own: ``make_valkey(maxmemory="2mb")``."""
    servers = []

    def make(**config):
        servers.append(Redis(**config))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def valkey(make_valkey):
    """A Redis server of the test's own."""
    return make_valkey()


@pytest.fixture
def use(settings):
    """Let this process use a Redis: ``use(url)``."""

    def use(url, **options):
        backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
        config = {"hosts": [url], **options}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}

    return use
