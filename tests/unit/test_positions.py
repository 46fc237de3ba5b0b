"""Where a user's messages are now."""

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from django.core.exceptions import SynchronousOnlyOperation

from bazis_ws_channels.history.positions import UNKNOWN, Position
from bazis_ws_channels.positions import aposition, position
from bazis_ws_channels.publishing import abroadcast, apublish
from tests.kit import channel_layers as layers_at

OURS = {"default": {"BACKEND": "bazis_ws_channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(params=["async", "sync"])
def ask(request):
    """Return where a user is, by either twin."""
    return aposition if request.param == "async" else sync_to_async(position)


@pytest.fixture
def recording(settings):
    """Let the layer record."""
    settings.CHANNEL_LAYERS = OURS
    channel_layers.backends.clear()
    return settings


async def test_each_stream_has_its_own(recording, ask):
    """What is published moves its own stream on; an instance and a key are one user."""
    before = await ask(1)
    assert set(before) == {"user", "common"}
    await apublish([1], "to one")
    after = await ask(1)
    assert after["common"] == before["common"]
    assert Position.parse(after["user"]).offset == Position.parse(before["user"]).offset + 1
    await abroadcast("to all")
    assert (await ask(1))["common"] != before["common"]


async def test_an_instance_is_its_key(recording, ask, make_user):
    """As everywhere."""
    await apublish([1], "to one")
    assert await ask(make_user(1)) == await ask(1)


async def test_a_layer_that_records_nothing(ask):
    """Channels' own."""
    assert await ask(1) is None


async def test_recording_that_is_off(recording, ask):
    """By the setting."""
    recording.BAZIS_WS_HISTORY_SECONDS = 0
    assert await ask(1) is None


async def test_redis_that_is_away(settings, ask, caplog):
    """A position from which nothing can be replayed: the client loads its state again."""
    settings.CHANNEL_LAYERS = layers_at("redis://127.0.0.1:1")
    channel_layers.backends.clear()
    assert await ask(1) == {"user": str(UNKNOWN), "common": str(UNKNOWN)}
    assert "A position can't be read; its client will load its state again" in caplog.text


@pytest.mark.parametrize("wrong", [None, "no number", object()])
async def test_who_is_no_user(recording, ask, wrong):
    """It is said."""
    with pytest.raises(TypeError, match="expected a User"):
        await ask(wrong)


async def test_on_an_event_loop(recording):
    """The error names the twin."""
    with pytest.raises(SynchronousOnlyOperation, match="aposition"):
        position(1)
