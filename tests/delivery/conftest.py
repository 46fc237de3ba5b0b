"""Fixtures: a server for a module's tests, Redis servers of a test's own, channel layers."""

import pytest

from bazis_ws_channels.layers import RedisPubSubChannelLayer
from tests.kit import Daphne, Redis, Uvicorn


class DeliveryDaphne(Daphne):
    """daphne with the consumers of `tests.delivery.asgi`."""

    application = "tests.delivery.asgi:application"


class DeliveryUvicorn(Uvicorn):
    """uvicorn with the same."""

    application = "tests.delivery.asgi:application"


@pytest.fixture(scope="module")
def server(django_db_setup):
    """A daphne process that the tests of a module share."""
    server = DeliveryDaphne()
    server.wait_until_ready()
    yield server
    server.stop()
    print(server.log)


@pytest.fixture
def make_valkey():
    """Start Redis servers of the test's own."""
    servers = []

    def make():
        servers.append(Redis())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def valkey(make_valkey):
    """A Redis server of the test's own."""
    return make_valkey()


@pytest.fixture
async def make_layer():
    """Make channel layers: ``make_layer(url, ..., layer_class=...)``."""
    layers = []

    def make(*urls, layer_class=RedisPubSubChannelLayer, **kwargs):
        layers.append(layer_class(hosts=list(urls), **kwargs))
        return layers[-1]

    yield make
    for layer in layers:
        await layer.flush()
