"""Presence in Redis or Valkey: one round trip a verb, short timeouts."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from ..conf import conf
from ..exceptions import PresenceUnavailable
from ..pipe import Pipe
from .scripts import SCRIPTS

__all__ = ["RedisStore"]

#: A connection that Redis closed meanwhile is replaced at once; a timeout isn't waited for twice.
_RETRIED = (ConnectionError, redis.exceptions.ConnectionError)


class RedisStore:
    """Answers the verbs of `scripts.py` by running them in Redis.

    Args:
        host: one entry of channels-redis's ``hosts``, decoded to a dict.
    """

    shared = True

    def __init__(self, host: dict[str, Any]) -> None:
        self._host = host
        self._client: redis.Redis | None = None
        self._pipes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pipe] = (
            weakref.WeakKeyDictionary()
        )

    def call(self, verb: str, *args: str | int) -> Any:
        """Answer `verb`, blocking; the client is safe to use from threads and after a fork."""
        if self._client is None:
            retry = Retry(NoBackoff(), 1, supported_errors=_RETRIED)
            self._client = redis.Redis(connection_pool=_sync_pool(self._host, retry=retry))
        client = self._client
        try:
            if verb == "renew":
                return client.execute_command(*_renew(*args))
            script = SCRIPTS[verb]
            try:
                return client.evalsha(script.sha, 0, conf.BAZIS_WS_KEY_PREFIX, *map(str, args))
            except NoScriptError:
                return client.eval(script.text, 0, conf.BAZIS_WS_KEY_PREFIX, *map(str, args))
        except (RedisError, OSError) as error:
            raise PresenceUnavailable(_explain(error)) from error

    async def acall(self, verb: str, *args: str | int) -> Any:
        """Answer `verb` on the running event loop, over a connection of its own."""
        pipe = self._pipe()
        try:
            if verb == "renew":
                return await pipe.call(*_renew(*args))
            script = SCRIPTS[verb]
            prefix = conf.BAZIS_WS_KEY_PREFIX
            try:
                return await pipe.call("EVALSHA", script.sha, 0, prefix, *map(str, args))
            except NoScriptError:
                return await pipe.call("EVAL", script.text, 0, prefix, *map(str, args))
        except (TimeoutError, RedisError, OSError) as error:
            raise PresenceUnavailable(_explain(error)) from error

    def _pipe(self) -> Pipe:
        loop = asyncio.get_running_loop()
        pipe = self._pipes.get(loop)
        if pipe is None:
            pipe = Pipe(self._host, conf.BAZIS_WS_REDIS_TIMEOUT, decode_responses=True)
            self._pipes[loop] = pipe
        return pipe


def _renew(process: str | int, lease_ms: str | int) -> tuple[str | int, ...]:
    """Return the one command of an idle process: it answers None for a lost lease."""
    return ("GETEX", f"{conf.BAZIS_WS_KEY_PREFIX}user_ws.lease.{process}", "PX", lease_ms)


def _explain(error: BaseException) -> str:
    return f"The presence store is out of reach: {type(error).__name__}: {error}"


def _timeouts() -> dict[str, Any]:
    seconds = conf.BAZIS_WS_REDIS_TIMEOUT
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "decode_responses": True,
    }


def _sync_pool(host: dict[str, Any], **kwargs: Any) -> redis.ConnectionPool:
    options = {**host, **_timeouts(), **kwargs}
    if "address" in options:
        return redis.ConnectionPool.from_url(options.pop("address"), **options)
    if "master_name" in options:
        sentinel = redis.Sentinel(
            options.pop("sentinels"), sentinel_kwargs=options.pop("sentinel_kwargs", None)
        )
        return redis.SentinelConnectionPool(options.pop("master_name"), sentinel, **options)
    return redis.ConnectionPool(**options)
