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

#: The layers of those that are in force, the innermost last.
_layers: list[InMemoryChannelLayer] = []


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
    before = channel_layers.set(DEFAULT_CHANNEL_LAYER, layer)
    _layers.append(layer)

    def set_again(*, setting: str, **kwargs: Any) -> None:
        nonlocal before
        if setting == "CHANNEL_LAYERS":  # channels has just forgotten its layers
            before = None
            channel_layers.set(DEFAULT_CHANNEL_LAYER, _layers[-1])

    setting_changed.connect(set_again)
    try:
        yield
    finally:
        setting_changed.disconnect(set_again)
        _layers.remove(layer)
        before = _layers[-1] if _layers else before
        if before is None:
            channel_layers.backends.pop(DEFAULT_CHANNEL_LAYER, None)
        else:
            channel_layers.set(DEFAULT_CHANNEL_LAYER, before)
