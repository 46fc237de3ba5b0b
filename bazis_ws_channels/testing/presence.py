"""Who is online, as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..presence.stores import use_store
from ..presence.stores.base import Connect, Register, Token
from ..presence.stores.memory import MemoryStore
from ..users import key_of, pks_of
from .isolation import isolate

__all__ = ["online"]

_PROCESS = "a-server-of-the-test"
#: A year: the lease of that server is not renewed.
_LEASE_MS = 365 * 24 * 3600 * 1000


@contextmanager
def online(*users: Any) -> Iterator[None]:
    """Let these users (instances or primary keys) be online with one connection each, and nobody
    else but clients of this process that connect meanwhile.
    """
    store = MemoryStore()
    store.ask(Register(_PROCESS, _LEASE_MS))
    for number, pk in enumerate(pks_of(users)):
        store.ask(Connect(_PROCESS, f"connection-{number}", key_of(pk), 1, Token()))
    with isolate(), use_store(store):
        yield
