"""Where presence is kept: in Redis, or in the process."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from ...redis.hosts import presence_host
from .base import Store
from .memory import MemoryStore
from .redis import RedisStore

__all__ = ["get_store"]

_SETTINGS = {"CHANNEL_LAYERS", "BAZIS_WS_REDIS_URL", "BAZIS_WS_REDIS_TIMEOUT"}


@lru_cache(maxsize=1)
def get_store() -> Store:
    """Return this process's store: in Redis if the settings name one, otherwise in memory."""
    host = presence_host()
    return MemoryStore() if host is None else RedisStore(host)


def _forget_store(*, setting: str, **kwargs: Any) -> None:
    if setting in _SETTINGS:
        get_store.cache_clear()


setting_changed.connect(_forget_store, dispatch_uid="bazis_ws_channels.presence_store")
