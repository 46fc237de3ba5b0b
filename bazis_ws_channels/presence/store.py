"""Where presence is kept: one interface, in Redis or in the process.

A store answers *verbs*: ``register``, ``renew``, ``restore``, ``connect``, ``disconnect``,
``sweep`` and ``release`` change what is known; ``status``, ``count``, ``told``,
``online_users`` and ``online_count`` read it; ``revoke_before``, ``revoke_token`` and
``is_revoked`` remember which tokens are void. Arguments and replies are those that
``scripts.py`` documents (without the key prefix): strings and integers, so that sync code, async
code and both stores share one definition of what is asked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

from django.core.signals import setting_changed
from django.utils.asyncio import async_unsafe

from ..conf import conf

__all__ = ["Store", "get_store"]


class Store(Protocol):
    """What answers the verbs."""

    #: Whether other processes see it.
    shared: bool

    def call(self, verb: str, *args: str | int) -> Any:
        """Answer `verb`, blocking.

        Raises:
            PresenceUnavailable: Redis is out of reach, or too slow.
        """

    async def acall(self, verb: str, *args: str | int) -> Any:
        """Answer `verb` without blocking the event loop. Raises as `call`."""


@lru_cache(maxsize=1)
def get_store() -> Store:
    """Return this process's store: Redis where the settings name one, else in-process."""
    from .memory import MemoryStore
    from .redis import RedisStore

    host = conf.redis_host
    return MemoryStore() if host is None else RedisStore(host)


@async_unsafe("Presence was read by blocking code on an event loop; use the async twin (aonline).")
def ask(verb: str, *args: str | int) -> Any:
    """Answer `verb` from sync code."""
    return get_store().call(verb, *args)


async def aask(verb: str, *args: str | int) -> Any:
    """Answer `verb` from async code."""
    return await get_store().acall(verb, *args)


def _forget_store(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CHANNEL_LAYERS", "BAZIS_WS_REDIS_URL", "BAZIS_WS_REDIS_TIMEOUT"):
        get_store.cache_clear()


setting_changed.connect(_forget_store)
