"""Exceptions of this package."""

from __future__ import annotations

__all__ = [
    "AuthenticationFailed",
    "ChannelLayerUnavailable",
    "JwksUnavailable",
    "MessageTooBig",
    "PresenceUnavailable",
    "PublishError",
    "ServerBusy",
    "SessionRefused",
    "TokenError",
    "WsError",
]


class WsError(Exception):
    """Base of all errors of this package."""


class AuthenticationFailed(WsError):
    """A client could not be authenticated.

    Attributes:
        code: the protocol's error code, for instance ``"invalid_token"``.
        detail: a sentence for the client's developer; never the token.
        why: what is wrong, for the site's developer: names of claims and settings, no values. It
            is logged at INFO, and told to the client with DEBUG only.
    """

    def __init__(self, code: str, detail: str, why: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.why = why


class TokenError(AuthenticationFailed):
    """A token is expired, revoked or not valid."""


class SessionRefused(AuthenticationFailed):
    """The user is known but may not have this session (too many connections, say)."""


class ServerBusy(WsError):
    """More sign-ins wait than can be served soon.

    Attributes:
        retry_after: seconds after which to come back, with jitter in them.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Too many sign-ins wait; come back in {retry_after} s.")
        self.retry_after = retry_after


class PublishError(WsError):
    """A message could not be handed over: the channel layer is out of reach or too slow."""


class MessageTooBig(PublishError, ValueError):
    """A message is over ``BAZIS_WS_MAX_MESSAGE_BYTES``; nothing was sent.

    Attributes:
        size_bytes: the frame's size.
        limit_bytes: the limit.
    """

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"The message is {size_bytes} bytes as JSON; BAZIS_WS_MAX_MESSAGE_BYTES allows"
            f" {limit_bytes}. Publish a reference (an id, a URL) and let clients fetch the rest."
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class ChannelLayerUnavailable(WsError):
    """Redis did not confirm a subscription in time."""


class PresenceUnavailable(WsError):
    """The presence store is out of reach."""


class JwksUnavailable(WsError):
    """An identity provider has given no keys yet."""
