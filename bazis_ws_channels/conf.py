"""The package's settings: typed, read at every use, each with its default beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

__all__ = ["Setting", "Settings", "conf"]

#: One key, several by ``kid`` (or a JWK set), or what returns one for a ``kid``.
Key = str | bytes | Mapping[str, Any] | Callable[[str | None], Any]

_NAMESPACE = re.compile(r"[a-zA-Z0-9_-]{1,63}")

T = TypeVar("T")

#: Where Django's `settings` keeps each value that was read, until it is assigned, deleted or
#: overridden. What is not set it looks for at every use, at ten times the cost.
_kept = vars(settings)


class Setting(Generic[T]):
    """One of Django's settings, with its default: what the decorated function returns.

    It is asked for values that aren't kept; kept ones are attributes of `conf`, which go before a
    descriptor that can't be assigned to, at no call's cost.
    """

    def __init__(self, fget: Callable[[Any], T]) -> None:
        self.fget = fget
        self.__doc__ = fget.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        name = self.fget.__name__
        value: T = getattr(settings, name, self.fget(instance))
        _kept[name] = value
        return value


class _Tokens:
    """Settings of tokens."""

    @Setting
    def BAZIS_JWT_SESSION_ALG(self) -> str | Sequence[str]:
        """Accepted algorithm, or a list of one family (HS*, or RS*/ES*); the first signs."""
        return "HS256"

    @Setting
    def BAZIS_WS_JWT_KEY(self) -> Key | None:
        """Verifying key: a string or PEM, `{kid: key}`, a JWK set, or a callable of the `kid`
        (or its dotted path), for instance `auth.keys.from_url(...)`; `None`: `SECRET_KEY` and
        `SECRET_KEY_FALLBACKS`.
        """
        return None

    @Setting
    def BAZIS_WS_JWT_SIGNING_KEY(self) -> str | bytes | Mapping[str, Any] | None:
        """Key that `ws_token` signs with, as a string, a PEM, a JWK or `{kid: key}`; for HS*
        the verifying key serves, the first of several.
        """
        return None

    @Setting
    def BAZIS_WS_JWT_KEY_SECONDS(self) -> float:
        """How long the answer of a callable `BAZIS_WS_JWT_KEY` is good for its `kid`."""
        return 60

    @Setting
    def BAZIS_WS_JWT_AUDIENCE(self) -> str | None:
        """Required `aud`."""
        return None

    @Setting
    def BAZIS_WS_JWT_ISSUER(self) -> str | None:
        """Required `iss`."""
        return None

    @Setting
    def BAZIS_WS_JWT_CLAIM(self) -> str:
        """Claim that names the user (`user_id` for Simple JWT)."""
        return "sub"

    @Setting
    def BAZIS_WS_JWT_USER_FIELD(self) -> str | None:
        """Field of the user model that the claim holds; `None`: the username field."""
        return None

    @Setting
    def BAZIS_WS_REQUIRE_OWN_TOKENS(self) -> bool:
        """Accept only what `ws_token` issues, so that another JWT of the same key opens nothing."""
        return False

    @Setting
    def BAZIS_WS_JWT_LEEWAY(self) -> float:
        """Seconds of clock difference forgiven in `exp` and `nbf` (in `iat` at least 30)."""
        return 0

    @Setting
    def BAZIS_WS_TOKEN_LIFETIME(self) -> float | timedelta:
        """Lifetime of what `ws_token` issues, in seconds."""
        return 15 * 60

    @Setting
    def BAZIS_WS_MAX_TOKEN_BYTES(self) -> int:
        """Longer tokens are refused without being parsed."""
        return 8192

    @Setting
    def BAZIS_WS_REVOCATION_SECONDS(self) -> int:
        """How long a revocation is remembered: at least the lifetime of your longest token."""
        return 30 * 24 * 3600


class _Endings:
    """Settings that say when the server ends sessions."""

    @Setting
    def BAZIS_WS_END_ON_LOGOUT(self) -> bool:
        """End a user's sessions when the user logs out of Django."""
        return True

    @Setting
    def BAZIS_WS_END_ON_PASSWORD_CHANGE(self) -> bool:
        """End a user's sessions, and void `ws_token`'s tokens, when a new password is saved."""
        return True

    @Setting
    def BAZIS_WS_END_ON_DEACTIVATION(self) -> bool:
        """End a user's sessions when the user is saved inactive, or deleted."""
        return True

    @Setting
    def BAZIS_WS_REAUTHORIZE_SECONDS(self) -> float:
        """Period in which each session is compared with the database and the revocations, in
        bulk: what ended it is found by then, whatever message was lost.
        """
        return 60


class _Limits:
    """Settings of who may connect, and of limits."""

    @Setting
    def BAZIS_WS_ALLOWED_ORIGINS(self) -> Sequence[str] | None:
        """Accepted `Origin`s beside the site's own hosts, as in `CSRF_TRUSTED_ORIGINS`; `"*"`
        for any, but never with a Django session.
        """
        return None

    @Setting
    def BAZIS_WS_AUTH_TIMEOUT(self) -> float:
        """Seconds that a socket may wait without a valid token."""
        return 10

    @Setting
    def BAZIS_WS_HANDSHAKES_PER_SECOND(self) -> float:
        """Handshakes a second that a process takes on; others get `server_busy`."""
        return 1000

    @Setting
    def BAZIS_WS_TUNE_GC(self) -> bool:
        """In a process that serves, let Python look at all objects for garbage when a quarter of
        the connections has ended, not when a quarter is new; unless you set `gc` yourself.
        """
        return True

    @Setting
    def BAZIS_WS_MAX_UNAUTHENTICATED(self) -> int:
        """Sockets of a process that may wait for a token; of more, the oldest are closed."""
        return 1000

    @Setting
    def BAZIS_WS_MAX_UNAUTHENTICATED_BY_ADDRESS(self) -> int:
        """The same for one client address, where it is public or comes in a trusted header."""
        return 100

    @Setting
    def BAZIS_WS_CLIENT_ADDRESS_HEADER(self) -> str | None:
        """Header in which your proxy tells the client's address (`"X-Forwarded-For"`: its last
        entry counts); only if clients can't set it themselves.
        """
        return None

    @Setting
    def BAZIS_WS_MAX_CONNECTIONS(self) -> int:
        """Connections of one user, over all processes."""
        return 100

    @Setting
    def BAZIS_WS_MAX_FRAME_BYTES(self) -> int:
        """Largest frame accepted from a client (daphne itself cuts the line at 1 MiB)."""
        return 64 * 1024

    @Setting
    def BAZIS_WS_FRAMES_PER_SECOND(self) -> float:
        """Frames a second that a client may send in the long run."""
        return 20

    @Setting
    def BAZIS_WS_FRAMES_BURST(self) -> int:
        """Frames that a client may send at once."""
        return 60

    @Setting
    def BAZIS_WS_MAX_BAD_MESSAGES(self) -> int:
        """Bad messages answered before the socket is closed with 4400."""
        return 20

    @Setting
    def BAZIS_WS_MAX_WATCHED(self) -> int:
        """Users that one connection may watch."""
        return 200


class _Anonymous:
    """Settings of sessions without a user."""

    @Setting
    def BAZIS_WS_ANONYMOUS(self) -> bool:
        """Whether a random token that a client makes opens a session without a user."""
        return False

    @Setting
    def BAZIS_WS_ANONYMOUS_COMMON(self) -> bool:
        """Whether those sessions get what is broadcast: then anybody can hear it."""
        return False

    @Setting
    def BAZIS_WS_MAX_ANONYMOUS(self) -> int:
        """Anonymous sessions of a process; more get `server_busy`."""
        return 1000

    @Setting
    def BAZIS_WS_MAX_ANONYMOUS_BY_ADDRESS(self) -> int:
        """The same for one client address, where it is public or comes in a trusted header; more
        get `too_many_connections`.
        """
        return 100


class _Delivery:
    """Settings of delivery."""

    @Setting
    def BAZIS_WS_MAX_MESSAGE_BYTES(self) -> int:
        """Largest message that may be published (daphne can't send more than 1 MiB)."""
        return 1000 * 1000

    @Setting
    def BAZIS_WS_PUBLISH_TIMEOUT(self) -> float:
        """Seconds after which a publishing call gives up with `PublishError`."""
        return 3

    @Setting
    def BAZIS_WS_SEND_BUFFER_BYTES(self) -> int:
        """Bytes that may wait for a client that doesn't read, before it is cut off."""
        return 1024 * 1024


class _History:
    """Settings of replay."""

    @Setting
    def BAZIS_WS_HISTORY_SECONDS(self) -> int:
        """How long messages can be replayed after the last one of their stream (a user's, or
        everybody's); 0 turns replay off.
        """
        return 300

    @Setting
    def BAZIS_WS_HISTORY_MESSAGES(self) -> int:
        """Messages kept of each stream."""
        return 100

    @Setting
    def BAZIS_WS_HISTORY_BYTES(self) -> int:
        """Bytes kept of each stream; a message that is larger alone can't be replayed."""
        return 256 * 1024


class _Presence:
    """Settings of presence."""

    @Setting
    def BAZIS_WS_REDIS_URL(self) -> str | None:
        """Redis of the presence; `None`: the channel layer's first host. Without either,
        presence is kept in the process.
        """
        return None

    @Setting
    def BAZIS_WS_REDIS_TIMEOUT(self) -> float:
        """Seconds to wait for Redis, when connecting and for an answer."""
        return 2

    @Setting
    def BAZIS_WS_KEY_PREFIX(self) -> str:
        """Put before every Redis key of the package: set it where projects share a Redis."""
        return ""

    @Setting
    def BAZIS_WS_LEASE_SECONDS(self) -> float:
        """How long a process counts as alive after its last renewal."""
        return 10

    @Setting
    def BAZIS_WS_RENEW_SECONDS(self) -> float:
        """Period of the presence task: at most half of the lease."""
        return 5

    @Setting
    def BAZIS_WS_OFFLINE_GRACE_SECONDS(self) -> float:
        """How long after the last connection `user_offline` is told."""
        return 5

    @Setting
    def BAZIS_WS_LAST_SEEN_SECONDS(self) -> int:
        """How long `last_seen` is kept."""
        return 30 * 24 * 3600

    @Setting
    def BAZIS_WS_PRESENCE_ON_ERROR(self) -> Literal["offline", "raise"]:
        """What reading presence answers while Redis is out of reach: `"offline"` (logged
        once), or `"raise"` `PresenceUnavailable`.
        """
        return "offline"


class _Spaces:
    """Settings of user spaces and ids."""

    @Setting
    def BAZIS_WS_NAMESPACE(self) -> str | Callable[[], str]:
        """Name of the user space in groups, keys and tokens, or a callable (or its dotted path)
        that returns the current one: for tenants whose primary keys repeat.
        """
        return ""

    @Setting
    def BAZIS_WS_ID_AS_STRING(self) -> bool:
        """Send user ids to clients as strings: JavaScript rounds numbers over 2**53."""
        return False


class Settings(_Tokens, _Endings, _Limits, _Anonymous, _Delivery, _History, _Presence, _Spaces):
    """Read ``BAZIS_WS_*`` from Django's settings.

    A change is seen at once, by ``override_settings`` or by assignment. A setting's docstring is
    its text in the settings table of the documentation.
    """

    def __init__(self) -> None:
        self.__dict__ = _kept

    @classmethod
    def properties(cls) -> dict[str, Setting[Any]]:
        """Return the settings by name, in the order of the table."""
        return {
            name: value
            for base in cls.__bases__
            for name, value in vars(base).items()
            if name.startswith("BAZIS_")
        }

    @property
    def namespace(self) -> str:
        """The current user space.

        Raises:
            ImproperlyConfigured: the name has other characters than letters, digits, "-", "_".
        """
        value = self.BAZIS_WS_NAMESPACE
        if not value:
            return ""
        if isinstance(value, str) and "." in value:
            value = import_string(value)
        name = value() if callable(value) else value
        if name and not _NAMESPACE.fullmatch(name):
            raise ImproperlyConfigured(
                f"BAZIS_WS_NAMESPACE: {name!r} is no name of 1 to 63 letters, digits, '-', '_'."
            )
        return name

    @property
    def namespace_is_fixed(self) -> bool:
        """Whether there is one user space at all times."""
        value = self.BAZIS_WS_NAMESPACE
        return isinstance(value, str) and "." not in value

    @property
    def algorithms(self) -> list[str]:
        """The accepted JWT algorithms as a list, which is the one form that jose takes safely."""
        value = self.BAZIS_JWT_SESSION_ALG
        return [value] if isinstance(value, str) else list(value)


conf = Settings()
