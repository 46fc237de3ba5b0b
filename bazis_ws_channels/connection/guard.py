"""Turning exceptions on one connection into errors of the protocol."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .. import protocol
from ..exceptions import (
    AuthenticationFailed,
    ChannelLayerUnavailable,
    PresenceUnavailable,
    ServerBusy,
)

__all__ = ["Guard"]

logger = logging.getLogger("bazis_ws_channels")


class Guard:
    """Awaits coroutines, and turns what they raise into errors of this one connection.

    Args:
        fail: tells the client an error code and a detail, and closes with the code given, if any;
            a fourth argument is the seconds after which to come back.
        end: does the same after ending the session.
        names: what names the connection in the log: ``user`` and ``session``, as `extra`.
    """

    def __init__(
        self,
        fail: Callable[..., Awaitable[None]],
        end: Callable[[str, str, int | None], Awaitable[None]],
        names: Callable[[], dict[str, Any]],
    ) -> None:
        self._fail = fail
        self._end = end
        self.names = names

    def label(self) -> str:
        """Name the connection in a log message: never a token, never a body."""
        names = self.names()
        if not names:
            return "no session"
        user = "anonymous" if names["user"] is None else f"user {names['user']}"
        return f"{user}, session {names['session']}"

    async def __call__(self, awaitable: Awaitable[Any]) -> None:
        """Await, and send the client an error if it fails."""
        try:
            await awaitable
        except AuthenticationFailed as error:
            is_refused = error.code == "too_many_connections"
            close = protocol.CLOSE_TOO_MUCH if is_refused else None
            await self._end(error.code, self._detail(error), close)
        except ServerBusy as error:
            detail = "Too many sign in at this moment"
            await self._fail("server_busy", detail, protocol.CLOSE_GOING_DOWN, error.retry_after)
        except (ChannelLayerUnavailable, PresenceUnavailable, ImproperlyConfigured) as error:
            logger.error("%s (%s)", error, self.label(), extra=self.names())
            await self.fail_internally()
        except Exception:
            self.log_exception("A connection failed")
            await self.fail_internally()

    def _detail(self, error: AuthenticationFailed) -> str:
        """Return what the client is told of a failed sign-in; the rest is logged."""
        if not error.why:
            return error.detail
        text = "A token was refused: %s (%s)"
        logger.info(text, error.why, self.label(), extra=self.names())
        return f"{error.detail}: {error.why}" if settings.DEBUG else error.detail

    def log_exception(self, what: str) -> None:
        """Log the exception that is being handled, with what names the connection."""
        logger.exception("%s (%s)", what, self.label(), extra=self.names())

    async def fail_internally(self) -> None:
        """Send `internal_error` and close."""
        detail = "Internal server error"
        await self._fail("internal_error", detail, protocol.CLOSE_SERVER_FAILURE)
