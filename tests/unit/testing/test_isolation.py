"""Nothing leaves the process: layers and stores of a test's own, and those of before afterwards."""

import contextlib

from channels.layers import channel_layers, get_channel_layer
from django.test import override_settings

from bazis_ws_channels.layers import InMemoryChannelLayer
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.memory import MemoryStore
from bazis_ws_channels.testing.isolation import isolate

AWAY = {
    "default": {
        "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
    }
}


def test_a_layer_and_a_store_of_its_own():
    """The project's are back afterwards, whatever happens."""
    layer, store = get_channel_layer(), get_store()
    with contextlib.suppress(ZeroDivisionError), isolate():
        assert type(get_channel_layer()) is InMemoryChannelLayer
        assert get_channel_layer() is not layer
        assert type(get_store()) is MemoryStore
        assert get_store() is not store
        _ = 1 / 0
    assert get_channel_layer() is layer
    assert get_store() is store


def test_a_layer_that_nobody_has_made_is_not_made():
    """Nor is one left behind."""
    channel_layers.backends.clear()
    with isolate():
        pass
    assert channel_layers.backends == {}


def test_one_within_another_changes_nothing():
    """They are one place, until the outer one ends."""
    with isolate():
        layer, store = get_channel_layer(), get_store()
        with isolate():
            assert (get_channel_layer(), get_store()) == (layer, store)
        assert (get_channel_layer(), get_store()) == (layer, store)


def test_one_within_another_that_begins_anew():
    """It knows nothing of the outer one, and leaves it as it was."""
    with isolate():
        layer, store = get_channel_layer(), get_store()
        with isolate(anew=True):
            assert get_channel_layer() is not layer
            assert get_store() is not store
        assert (get_channel_layer(), get_store()) == (layer, store)


def test_those_that_end_out_of_order():
    """As fixtures may: the last one that is in force counts."""
    first, second = isolate(), isolate(anew=True)
    before = get_channel_layer()
    first.__enter__()
    second.__enter__()
    layer = get_channel_layer()
    first.__exit__(None, None, None)
    assert get_channel_layer() is layer
    second.__exit__(None, None, None)
    assert get_channel_layer() is before


def test_settings_that_change_meanwhile():
    """The layer stays; afterwards the settings count."""
    with isolate():
        layer = get_channel_layer()
        with override_settings(CHANNEL_LAYERS=AWAY):
            assert get_channel_layer() is layer
        with override_settings(DEBUG=True):  # is nothing to it
            assert get_channel_layer() is layer
        assert get_channel_layer() is layer
    with override_settings(CHANNEL_LAYERS=AWAY), isolate():
        pass
    assert type(get_channel_layer()) is not InMemoryChannelLayer


def test_no_layer_of_before_is_put_back_over_new_settings():
    """One that the new settings don't name."""
    old = get_channel_layer()
    context = isolate()
    context.__enter__()
    with override_settings(CHANNEL_LAYERS=AWAY):
        context.__exit__(None, None, None)
        assert get_channel_layer() is not old
