"""Presence in Redis or Valkey: one round trip a verb, short timeouts."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import redis
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from ..conf import conf
from ..exceptions import PresenceUnavailable
from .scripts import SCRIPTS

__all__ = ["RedisStore"]

#: Connections of one event loop: enough to keep Redis busy while a thousand clients connect.
_MAX_CONNECTIONS = 8
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
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aioredis.Redis] = (
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
        """Answer `verb` on the running event loop, over its own connections."""
        client = self._loop_client()
        try:
            if verb == "renew":
                return await client.execute_command(*_renew(*args))
            script = SCRIPTS[verb]
            prefix = conf.BAZIS_WS_KEY_PREFIX
            try:
                return await client.evalsha(script.sha, 0, prefix, *map(str, args))
            except NoScriptError:
                return await client.eval(script.text, 0, prefix, *map(str, args))
        except (TimeoutError, RedisError, OSError) as error:
            raise PresenceUnavailable(_explain(error)) from error

    def _loop_client(self) -> aioredis.Redis:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = aioredis.Redis(connection_pool=_async_pool(self._host))
            self._clients[loop] = client
        return client


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


def _async_pool(host: dict[str, Any]) -> aioredis.ConnectionPool:
    retry = AsyncRetry(NoBackoff(), 1, supported_errors=_RETRIED)  # type: ignore[arg-type]
    options = {**host, **_timeouts(), "retry": retry}
    if "master_name" in options:
        sentinel = aioredis.sentinel.Sentinel(
            options.pop("sentinels"), sentinel_kwargs=options.pop("sentinel_kwargs", None)
        )
        return aioredis.sentinel.SentinelConnectionPool(
            options.pop("master_name"), sentinel, **options
        )
    # Blocking, for redis-py's plain pool raises once all of its connections are in use. Waiting
    # for a free one may take longer than an answer: a thousand clients may be connecting.
    options |= {"max_connections": _MAX_CONNECTIONS, "timeout": 5 * conf.BAZIS_WS_REDIS_TIMEOUT}
    if "address" in options:
        return aioredis.BlockingConnectionPool.from_url(options.pop("address"), **options)
    return aioredis.BlockingConnectionPool(**options)
