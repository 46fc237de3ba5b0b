"""Fixtures: both layers that record."""

import pytest
from channels.layers import channel_layers

from tests.replay.support import IN_MEMORY


@pytest.fixture(params=["redis", "memory"])
async def layer(request, settings, transactional_db):
    """The default channel layer: in Redis, and in the process."""
    if request.param == "memory":
        settings.CHANNEL_LAYERS = IN_MEMORY
    channel_layers.backends.clear()
    yield channel_layers["default"]
    await channel_layers["default"].flush()
    channel_layers.backends.clear()
