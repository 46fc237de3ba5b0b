"""Where presence is kept: in Redis, or in the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from ...redis.hosts import presence_host
from .base import Store
from .memory import MemoryStore
from .redis import RedisStore

__all__ = ["forget_store", "get_store", "use_store"]

_SETTINGS = {"CHANNEL_LAYERS", "BAZIS_WS_REDIS_URL", "BAZIS_WS_REDIS_TIMEOUT"}


#: Stores that stand in for the one of the settings, the innermost last.
_stand_ins: list[Store] = []


def get_store() -> Store:
    """Return this process's store: in Redis if the settings name one, otherwise in memory."""
    return _stand_ins[-1] if _stand_ins else _own_store()


@contextmanager
def use_store(store: Store) -> Iterator[None]:
    """Let another store stand in for that of the settings, in the whole process: for tests."""
    _stand_ins.append(store)
    try:
        yield
    finally:
        _stand_ins.remove(store)


def forget_store() -> None:
    """Let the next `get_store` make a store anew: the settings have changed."""
    _own_store.cache_clear()


@lru_cache(maxsize=1)
def _own_store() -> Store:
    host = presence_host()
    return MemoryStore() if host is None else RedisStore(host)


def _forget_store(*, setting: str, **kwargs: Any) -> None:
    if setting in _SETTINGS:
        forget_store()


setting_changed.connect(_forget_store, dispatch_uid="bazis_ws_channels.presence_store")
