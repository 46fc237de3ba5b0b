"""System checks: find settings that make an installation unsafe or silently broken."""

from __future__ import annotations

import difflib
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.module_loading import import_string

from .auth import keys
from .conf import Settings, conf
from .redis.hosts import presence_host
from .redis_checks import are_hosts_usable, check_hosts, check_layer_arguments

__all__ = [
    "ALL_CHECKS",
    "check_application",
    "check_channel_layer",
    "check_daphne",
    "check_foreign_tokens",
    "check_hosts",
    "check_ids",
    "check_layer_arguments",
    "check_names",
    "check_presence",
    "check_tokens",
    "check_types",
    "check_user_field",
    "check_user_model",
]

_LAYERS = "https://channels.readthedocs.io/en/stable/topics/channel_layers.html"
_OUR_LAYER = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
#: Settings in which zero means none. In others it would shut everybody out or make a task spin.
_MAY_BE_ZERO = {
    "BAZIS_WS_HISTORY_SECONDS",
    "BAZIS_WS_JWT_LEEWAY",
    "BAZIS_WS_LAST_SEEN_SECONDS",
    "BAZIS_WS_MAX_WATCHED",
    "BAZIS_WS_OFFLINE_GRACE_SECONDS",
}

#: Settings whose values are not for anybody's eyes.
_SECRET = {"BAZIS_WS_JWT_KEY", "BAZIS_WS_JWT_SIGNING_KEY", "BAZIS_WS_REDIS_URL"}
#: Claims that may hold a username by default.
_NAMES = {"sub", "username", "preferred_username", "email"}


def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Find settings that don't exist: typing errors, most of the time."""
    known = Settings.properties().keys()
    messages: list[CheckMessage] = []
    for name in dir(settings):
        if name.startswith(("BAZIS_WS_", "BAZIS_JWT_")) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            hint = f"Did you mean {near[0]}?"
            messages.append(Error(f"Unknown setting {name}.", hint=hint, id="bazis_ws.E001"))
    return messages


def check_types(**kwargs: Any) -> list[CheckMessage]:
    """Find settings of the wrong type, or out of range."""
    messages: list[CheckMessage] = []
    for name, prop in Settings.properties().items():
        if name == "BAZIS_WS_JWT_KEY":
            continue
        expected = typing.get_type_hints(prop.fget)["return"]
        value = getattr(conf, name)
        if not _fits(value, expected):
            shown = getattr(expected, "__name__", str(expected))
            got = f"a {type(value).__name__}" if name in _SECRET else repr(value)
            message = f"{name} = {got}: expected {shown}."
            messages.append(Error(message, hint="", id="bazis_ws.E002"))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            may_be_zero = name in _MAY_BE_ZERO
            if not (value > 0 or (may_be_zero and value == 0)):
                lowest = "0 or more" if may_be_zero else "more than 0"
                message = f"{name} = {value!r}: expected {lowest}."
                messages.append(Error(message, id="bazis_ws.E002"))
    if not messages and conf.BAZIS_WS_RENEW_SECONDS * 2 > conf.BAZIS_WS_LEASE_SECONDS:
        messages.append(
            Error(
                "BAZIS_WS_RENEW_SECONDS is over half of BAZIS_WS_LEASE_SECONDS.",
                hint="One late renewal would show everybody offline. Use at most a half.",
                id="bazis_ws.E003",
            )
        )
    return messages


def check_tokens(**kwargs: Any) -> list[CheckMessage]:
    """Find algorithms and keys that can't verify a token, and secrets that can be guessed."""
    try:
        algorithms = keys.checked_algorithms()
    except (ImproperlyConfigured, TypeError) as error:
        return [Error(str(error), hint='For instance "HS256".', id="bazis_ws.E010")]
    try:
        known = list(_static_keys())
        for key in known:
            keys.construct(key, algorithms)
    except (ImproperlyConfigured, AttributeError) as error:
        hint = "HS* takes a secret; RS* and ES* take the PEM of the public key."
        return [Error(str(error), hint=hint, id="bazis_ws.E011")]
    if conf.BAZIS_WS_JWT_SIGNING_KEY is not None:
        try:
            keys.signing_key(algorithms[0])[1].sign(b"")
        except Exception as error:  # jose's, cryptography's, or ours
            hint = "HS* takes a secret; RS* and ES* take the PEM of the private key."
            message = f"BAZIS_WS_JWT_SIGNING_KEY can't sign: {error}"
            return [Error(message, hint=hint, id="bazis_ws.E013")]
    if algorithms[0].startswith("HS") and any(_is_weak(key) for key in known):
        hint = "Use at least 32 random bytes (RFC 7518, section 3.2)."
        message = "Tokens are signed with a secret that can be guessed."
        weak = Warning if settings.DEBUG else Error
        return [weak(message, hint=hint, id="bazis_ws.E012")]
    return []


def check_foreign_tokens(**kwargs: Any) -> list[CheckMessage]:
    """Find settings for tokens of another service where only our own are accepted."""
    if not conf.BAZIS_WS_REQUIRE_OWN_TOKENS or conf.BAZIS_WS_JWT_CLAIM == "sub":
        return []
    message = (
        f"BAZIS_WS_JWT_CLAIM = {conf.BAZIS_WS_JWT_CLAIM!r} is for tokens of another service, and"
        " BAZIS_WS_REQUIRE_OWN_TOKENS refuses them."
    )
    return [Warning(message, hint="Leave one of the two out.", id="bazis_ws.W016")]


def check_user_model(**kwargs: Any) -> list[CheckMessage]:
    """Find a user model without the mixin."""
    from .models import UserWsMixin

    model: Any = get_user_model()
    messages: list[CheckMessage] = []
    # Django's own user can have no mixin, and needs none: publishing takes any user.
    if not issubclass(model, UserWsMixin) and model._meta.label != "auth.User":
        hint = (
            "class User(bazis_ws_channels.models.UserWsMixin, AbstractUser): ..."
            " It needs no migration. If the model isn't yours, silence this check: `publishing`"
            " takes any user."
        )
        messages.append(
            Warning(f"{model.__name__} has no UserWsMixin.", hint=hint, id="bazis_ws.W020")
        )
    return messages


def check_user_field(**kwargs: Any) -> list[CheckMessage]:
    """Find a claim that names no field of the user model, or the wrong one."""
    model: Any = get_user_model()
    claim, chosen = conf.BAZIS_WS_JWT_CLAIM, conf.BAZIS_WS_JWT_USER_FIELD
    username = getattr(model, "USERNAME_FIELD", "pk")
    field = username if chosen is None else chosen
    if field not in {"pk"} | {each.name for each in model._meta.get_fields()}:
        message = f"BAZIS_WS_JWT_USER_FIELD = {field!r}: {model.__name__} has no such field."
        return [Error(message, hint='For instance "pk".', id="bazis_ws.E021")]
    messages: list[CheckMessage] = []
    if not _is_unique(model, field):
        message = f"The user field {field!r} is not unique: a token would be whose?"
        hint = "Set BAZIS_WS_JWT_USER_FIELD to a field that is."
        messages.append(Error(message, hint=hint, id="bazis_ws.E023"))
    if chosen is None and claim not in {*_NAMES, username}:
        message = f"BAZIS_WS_JWT_CLAIM = {claim!r} would be taken for a username."
        hint = (
            'Set BAZIS_WS_JWT_USER_FIELD, for instance to "pk": user 1 is not the user named "1".'
        )
        messages.append(Error(message, hint=hint, id="bazis_ws.E022"))
    return messages


def check_ids(**kwargs: Any) -> list[CheckMessage]:
    """Find primary keys that JavaScript would round: large numbers that the database doesn't count
    up from 1, such as snowflakes. Those that it does count never come so far.
    """
    field: Any = get_user_model()._meta.pk
    while field.remote_field:  # the key of a child model
        field = field.target_field
    is_large = isinstance(field, models.BigIntegerField | models.PositiveBigIntegerField)
    if not is_large or isinstance(field, models.AutoField) or conf.BAZIS_WS_ID_AS_STRING:
        return []
    message = f"{field} may hold numbers over 2**53, which JavaScript rounds to another user's."
    hint = "BAZIS_WS_ID_AS_STRING = True sends ids as strings. Silence this if yours are small."
    return [Warning(message, hint=hint, id="bazis_ws.W022")]


def check_channel_layer(**kwargs: Any) -> list[CheckMessage]:
    """Find a channel layer that is missing, or that loses messages or connections."""
    backend = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {}).get("BACKEND")
    if not backend:
        hint = f"CHANNEL_LAYERS = {{'default': {{'BACKEND': '{_OUR_LAYER}', ...}}}}; see {_LAYERS}"
        return [Error("There is no default channel layer.", hint=hint, id="bazis_ws.E030")]
    hint = f"Use {_OUR_LAYER}."
    try:
        layer = import_string(backend)
    except ImportError as error:
        return [Error(f"CHANNEL_LAYERS: {error}", hint=hint, id="bazis_ws.E031")]
    if layer.__name__ == "InMemoryChannelLayer" and not settings.DEBUG:
        message = "The in-memory channel layer serves one process: messages from others are lost."
        return [Warning(message, hint=hint, id="bazis_ws.W032")]
    if layer.__module__.startswith("channels_redis.core"):
        message = "RedisChannelLayer drops messages in a burst and old connections without a word."
        return [Warning(message, hint=hint, id="bazis_ws.W033")]
    if layer.__module__.startswith("channels_redis.pubsub"):
        message = "channels-redis's pub/sub layer may lose a message published after `subscribed`."
        return [Warning(message, hint=hint, id="bazis_ws.W034")]
    return []


def check_presence(**kwargs: Any) -> list[CheckMessage]:
    """Find presence that is kept in one process where there may be several."""
    if settings.DEBUG or not are_hosts_usable() or presence_host() is not None:
        return []
    message = "Presence is kept in the process: others see nobody online, and limits don't hold."
    hint = "Set BAZIS_WS_REDIS_URL, or use a channel layer in Redis."
    return [Warning(message, hint=hint, id="bazis_ws.W040")]


def check_daphne(**kwargs: Any) -> list[CheckMessage]:
    """Find daphne missing from INSTALLED_APPS, or with known vulnerabilities."""
    messages: list[CheckMessage] = []
    if not apps.is_installed("daphne"):
        message = "daphne is not in INSTALLED_APPS: runserver will not serve WebSockets."
        hint = "Put it first. With another ASGI server, silence this check."
        messages.append(Warning(message, hint=hint, id="bazis_ws.W050"))
    version = metadata.version("daphne")
    if tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) < (4, 2, 2):
        message = f"daphne {version} has known vulnerabilities (CVE-2026-44545, CVE-2026-44546)."
        messages.append(Error(message, hint="pip install -U daphne", id="bazis_ws.E051"))
    return messages


def check_application(**kwargs: Any) -> list[CheckMessage]:
    """Find an ASGI application that is missing, or has no route to the consumer.

    Its module is imported only by the commands `check` and `runserver`: it is the project's, may do
    anything when it is imported, and has no place in a `migrate` or in a Celery worker.
    """
    name = getattr(settings, "ASGI_APPLICATION", None)
    if not name:
        if not apps.is_installed("daphne"):
            return []  # the server is told where the application is
        hint = 'For instance "mysite.asgi.application".'
        message = "ASGI_APPLICATION is not set: runserver will not serve WebSockets."
        return [Warning(message, hint=hint, id="bazis_ws.W052")]
    if not _is_about_serving():
        return []
    from .routing import serves_sockets

    try:
        application = import_string(name)
    except Exception as error:  # the project's module may raise anything
        message = f"ASGI_APPLICATION = {name!r} can't be imported: {error!r}"
        return [Warning(message, id="bazis_ws.W053")]
    if serves_sockets(application) is False:
        hint = (
            '"websocket": JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns)) in a'
            " ProtocolTypeRouter; see docs/quickstart.md."
        )
        message = f"{name} has no WebSocket route to UserWsConsumer: nobody can connect."
        return [Warning(message, hint=hint, id="bazis_ws.W054")]
    return []


def _is_about_serving() -> bool:
    """Tell whether somebody asks what is wrong, or is about to serve the application."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    return command in ("check", "runserver")


def _is_unique(model: Any, name: str) -> bool:
    """Tell whether no two users share a value of a field."""
    if name == "pk":
        return True
    field = model._meta.get_field(name)
    return getattr(field, "unique", False) or any(
        constraint.fields == (name,) for constraint in model._meta.total_unique_constraints
    )


def _fits(value: Any, expected: Any) -> bool:
    """Tell whether `value` is of a setting's annotated type."""
    origin, args = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Literal:
        return value in args
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, each) for each in args)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, args[0]) for item in value)
    if origin is not None:
        return isinstance(value, origin)
    if expected is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, expected)


def _static_keys() -> Iterator[Any]:
    """Return the keys that are known without looking at a token."""
    source = keys.key_source()
    if source is None:
        yield from (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    elif isinstance(source, Mapping) and source:
        yield from keys.by_kid(source).values() or [None]
    elif not callable(source):
        yield source


def _is_weak(key: Any) -> bool:
    if not isinstance(key, str | bytes):
        return False
    text = key if isinstance(key, str) else key.decode("latin-1")
    return len(text) < 32 or len(set(text)) < 5


ALL_CHECKS = (
    check_names,
    check_types,
    check_tokens,
    check_foreign_tokens,
    check_user_model,
    check_user_field,
    check_ids,
    check_channel_layer,
    check_hosts,
    check_layer_arguments,
    check_presence,
    check_daphne,
    check_application,
)
