"""Nothing leaves the process: a channel layer and a presence store of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from channels.layers import DEFAULT_CHANNEL_LAYER, channel_layers
from django.core.signals import setting_changed

from ..layers import InMemoryChannelLayer
from ..presence.stores import use_store
from ..presence.stores.memory import MemoryStore

__all__ = ["isolate"]

#: The layers that are in force, the innermost last; each with the one whose place it took.
_layers: dict[InMemoryChannelLayer, Any] = {}


@contextmanager
def isolate(*, anew: bool = False) -> Iterator[None]:
    """Keep what is published, and who is online, in the process: no Redis is asked for anything.

    Clients of this process (`WsClient`) get what is published all the same.

    Args:
        anew: forget what an outer `isolate` knows; by default it changes nothing within another.
    """
    if _layers and not anew:
        yield
        return
    with _layer_of_our_own(), use_store(MemoryStore()):
        yield


@contextmanager
def _layer_of_our_own() -> Iterator[None]:
    layer = InMemoryChannelLayer()
    _layers[layer] = channel_layers.set(DEFAULT_CHANNEL_LAYER, layer)

    def stay(*, setting: str, **kwargs: Any) -> None:
        if setting == "CHANNEL_LAYERS":  # channels has just forgotten its layers
            outermost, *_, innermost = *_layers, *_layers
            _layers[outermost] = None
            channel_layers.set(DEFAULT_CHANNEL_LAYER, innermost)

    setting_changed.connect(stay)
    try:
        yield
    finally:
        setting_changed.disconnect(stay)
        _take_off(layer)


def _take_off(layer: InMemoryChannelLayer) -> None:
    """Put back what was before, wherever among the others the layer is: fixtures and clients may
    end in any order.
    """
    before = _layers.pop(layer)
    for inner, its_before in _layers.items():
        if its_before is layer:
            _layers[inner] = before
    if channel_layers.backends.get(DEFAULT_CHANNEL_LAYER) is not layer:
        return
    if before is None:
        channel_layers.backends.pop(DEFAULT_CHANNEL_LAYER, None)
    else:
        channel_layers.set(DEFAULT_CHANNEL_LAYER, before)
