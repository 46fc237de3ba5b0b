"""Fixtures: a server for a module's tests, channel layers."""

import pytest

from bazis_ws_channels.layers import RedisPubSubChannelLayer
from tests.kit import Daphne, Uvicorn


class DeliveryDaphne(Daphne):
    """daphne with the consumers of `tests.delivery.asgi`."""

    application = "tests.delivery.asgi:application"


class DeliveryUvicorn(Uvicorn):
    """uvicorn with the same."""

    application = "tests.delivery.asgi:application"


@pytest.fixture(scope="module")
def server(django_db_setup):
    """A daphne process that the tests of a module share."""
    with DeliveryDaphne() as server:
        yield server


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
