"""Explanations of Redis's errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["dead_transport_as_lost", "explain", "was_refused"]

#: What a node of a Cluster answers to who takes it for a single server.
_CLUSTER = (AskError, ClusterCrossSlotError)


@contextmanager
def dead_transport_as_lost() -> Iterator[None]:
    """Turn an AttributeError into the error of a connection that is gone: so asyncio of Python
    3.13.0 answers a write to a transport that has died.

    Raises:
        redis.ConnectionError: it is.
    """
    try:
        yield
    except AttributeError as error:
        raise RedisConnectionError("The connection is gone.") from error


def was_refused(error: BaseException) -> bool:
    """Tell whether a server took no connection: then nothing was done."""
    return isinstance(error.__cause__ or error.__context__, ConnectionRefusedError)


def explain(error: BaseException) -> str:
    """Return what is wrong with Redis, and what to do, for readers of the log."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, OutOfMemoryError):
        return f"Redis is out of memory (raise maxmemory): {what}"
    if isinstance(error, ReadOnlyError):
        return f"Redis is a read-only replica (is there a primary?): {what}"
    if isinstance(error, NoPermissionError):
        return f"Redis forbids a command or key (see the ACL in docs/deployment.md): {what}"
    if isinstance(error, AuthenticationError):
        return f"Redis refuses the user name or password: {what}"
    if isinstance(error, MasterDownError):
        return f"Redis is a replica that has lost its primary: {what}"
    if isinstance(error, _CLUSTER):
        return f"Redis is a Cluster, named as a single server (see bazis_ws.E043): {what}"
    if isinstance(error, ClusterDownError | TryAgainError):
        return f"The Redis Cluster does not serve a slot at the moment: {what}"
    if isinstance(error, ResponseError):
        return f"Redis refused a command: {what}"
    if os.strerror(errno.EMFILE) in what or os.strerror(errno.ENFILE) in what:
        return f"This process may open no more files (raise its limit, ulimit -n): {what}"
    return f"Redis is out of reach: {what}"
