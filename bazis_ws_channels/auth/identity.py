"""Identify a user from a token or a Django session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError
from django.views.decorators.debug import sensitive_variables

from ..conf import conf
from ..exceptions import AuthenticationFailed
from ..groups import anonymous_group, common_group, key_group
from ..presence.stores import get_store
from ..presence.stores.base import Revoked, Token
from ..times import microseconds
from ..users import in_space, key_of, namespace_of, pk_of
from . import django_sessions, tokens
from .credentials import is_stamp_of, stamp_of
from .django_sessions import Cookie, DjangoSession

__all__ = [
    "Answers",
    "Identity",
    "asession_identity",
    "authenticate",
    "identify",
    "identify_all",
    "user_from_token",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is, and until when.

    Attributes:
        user: the user's instance, or Django's `AnonymousUser`.
        key: the user's key, or the anonymous token's, in the namespace of the sign-in.
        claims: those of the token; None for a Django session.
        since: `time.monotonic()` when the user was identified: just before the question.
        stamp: of the user's credentials at that time.
        django_session: the Django session; None for a token, or where nobody knows of it.
        is_anonymous: whether there is no user: see `anonymous`.
    """

    user: Any
    key: str
    claims: tokens.Claims | None
    since: float
    stamp: str = field(default="", repr=False)
    django_session: DjangoSession | None = None
    is_anonymous: bool = False

    @property
    def group(self) -> str:
        """The group of all connections of this user, or of this anonymous token."""
        return anonymous_group(self.key) if self.is_anonymous else key_group(self.key)

    @property
    def groups(self) -> dict[str, str]:
        """The groups whose messages a session gets, by stream."""
        if self.is_anonymous and not conf.BAZIS_WS_ANONYMOUS_COMMON:
            return {"user": self.group}
        return {"user": self.group, "common": common_group(namespace_of(self.key))}

    @property
    def expires_at(self) -> float | None:
        """Seconds since the epoch at which a session of this identity ends."""
        if self.claims is not None:
            return self.claims.expires_at + conf.BAZIS_WS_JWT_LEEWAY
        return None if self.django_session is None else self.django_session.expires_at

    @property
    def issued_us(self) -> int | None:
        """The token's time of issue in microseconds; None if there is none."""
        if self.claims is None or self.claims.issued_at is None:
            return None
        return microseconds(self.claims.issued_at)

    @property
    def token(self) -> Token:
        """What revocations are checked against, for the presence store."""
        if self.claims is None:
            return Token(age_us=microseconds(time.monotonic() - self.since))
        return Token(self.issued_us, self.claims.jti or None)

    def is_ended_by(self, jti: str | None, before_us: int | None) -> bool:
        """Tell whether an ending means this identity: all of the user's, those of one token, or
        those of tokens issued before a moment.
        """
        if jti is not None:
            return self.claims is not None and self.claims.jti == jti
        if before_us is not None:
            issued_us = self.issued_us
            return self.claims is not None and (issued_us is None or issued_us < before_us)
        return True


@sensitive_variables()
def authenticate(token: str) -> Identity:
    """Return the identity of a token's user. Costs one database query.

    Revocation is checked later, when a session opens, in the presence store's one round trip.

    Raises:
        AuthenticationFailed: ``expired_token``, ``invalid_token`` or ``user_not_found``.
        django.db.Error: the database is out of reach.
    """
    return identify(tokens.verify(token))


@sensitive_variables()
def user_from_token(token: str) -> Any:
    """Return the user of a valid token that isn't revoked, for use in HTTP views.

    Raises:
        AuthenticationFailed: as `authenticate`.
        PresenceUnavailable: revocations can't be read now.
    """
    identity = authenticate(token)
    [is_revoked] = get_store().ask(Revoked([(identity.key, identity.token)]))
    if is_revoked:
        raise AuthenticationFailed("invalid_token", "Token revoked")
    return identity.user


async def asession_identity(user: Any, session: Any = None) -> Identity | None:
    """Return the identity of a Django session's user; None for anonymous or inactive ones.

    Args:
        session: the Django session, with which the identity ends; one question to its engine.
    """
    if user is None or not user.is_authenticated or not getattr(user, "is_active", True):
        return None
    since = time.monotonic()  # who logs out from now on is refused when the session opens
    known = None
    if session is not None:
        known = await database_sync_to_async(django_sessions.read)(session)
        if known is None:
            return None
    key = await in_space(key_of, pk_of(user))
    return Identity(user, key, None, since, stamp_of(user), known)


def identify(claims: tokens.Claims) -> Identity:
    """Return the identity that claims name. Raises as `authenticate`."""
    model: Any = get_user_model()
    field, value = _lookup(claims, model)
    namespace = conf.namespace  # before the query: a callable may choose its tenant
    try:
        user = model._default_manager.get(**{field: value})
    except (model.DoesNotExist, model.MultipleObjectsReturned, *_NO_VALUE):
        user = None
    return _identity(user, claims, namespace)


#: By the order of what was asked.
Answers = Sequence[Identity | Exception | None]


def identify_all(several: Sequence[tokens.Claims | Cookie]) -> Answers:
    """Return whose each of these claims and cookies is, None for a cookie of nobody's, or what
    `identify` would raise. Costs as many queries as `_of_claims` and `django_sessions.owners`.
    """
    cookies = [each for each in several if isinstance(each, Cookie)]
    claims = [each for each in several if not isinstance(each, Cookie)]
    of_claims = iter(_of_claims(claims) if claims else ())
    of_cookies = _of_cookies(cookies) if cookies else {}
    return [
        of_cookies.get(each) if isinstance(each, Cookie) else next(of_claims) for each in several
    ]


def _of_cookies(cookies: Sequence[Cookie]) -> dict[Cookie, Identity]:
    """Return whose these Django sessions are; without those of nobody, or of somebody inactive."""
    namespace = conf.namespace  # before the queries: a callable may choose their tenant
    since = time.monotonic()  # before them, too: as in `asession_identity`
    found: dict[Cookie, Identity] = {}
    for cookie, (user, session) in django_sessions.owners(cookies).items():
        if getattr(user, "is_active", True):
            key = key_of(pk_of(user), namespace)
            found[cookie] = Identity(user, key, None, since, stamp_of(user), session)
    return found


def _of_claims(several: Sequence[tokens.Claims]) -> list[Identity | Exception]:
    """Return whose each of these claims is, or what `identify` would raise: a query for each
    field that names users, and one more for each claim that names nobody as it stands.
    """
    if len(several) == 1:
        return [_result(None, several[0])]
    _ = conf.namespace  # before the queries: a callable may choose their tenant
    model: Any = get_user_model()
    values: dict[str, list[str | int]] = {}
    for claims in several:
        field, value = _lookup(claims, model)
        values.setdefault(field, []).append(value)
    found = {field: _find(model, field, values[field]) for field in values}
    return [_result(_found(found, *_lookup(claims, model)), claims) for claims in several]


#: What a lookup raises for a value that the field can't hold.
_NO_VALUE = (ValueError, TypeError, OverflowError, ValidationError, DataError)


def _find(model: Any, field: str, values: Sequence[str | int]) -> dict[str, list[Any]]:
    """Return users by the text of the value that names them; empty if one value spoils it all."""
    users: dict[str, list[Any]] = {}
    try:
        for user in model._default_manager.filter(**{f"{field}__in": set(values)}):
            users.setdefault(str(getattr(user, field)), []).append(user)
    except _NO_VALUE:
        return {}
    return users


def _found(found: dict[str, dict[str, list[Any]]], field: str, value: str | int) -> Any:
    users = found[field].get(str(value), ())
    return users[0] if len(users) == 1 else None


def _result(user: Any, claims: tokens.Claims) -> Identity | Exception:
    try:
        # Nobody's own text: the database may compare in another way, so let it look.
        return identify(claims) if user is None else _identity(user, claims, conf.namespace)
    except Exception as error:
        return error


def _identity(user: Any, claims: tokens.Claims, namespace: str) -> Identity:
    if user is None or not getattr(user, "is_active", True):
        raise AuthenticationFailed("user_not_found", "User not found", _why_unknown(claims))
    is_bound = claims.stamp is not None and conf.BAZIS_WS_END_ON_PASSWORD_CHANGE
    if is_bound and not is_stamp_of(user, str(claims.stamp)):
        raise AuthenticationFailed("invalid_token", "Token revoked")
    return Identity(user, key_of(user.pk, namespace), claims, time.monotonic(), stamp_of(user))


def _why_unknown(claims: tokens.Claims) -> str:
    if claims.key is not None:
        return "no active user has its primary key"
    field = conf.BAZIS_WS_JWT_USER_FIELD or getattr(get_user_model(), "USERNAME_FIELD", "pk")
    return (
        f"no active user's {field} (BAZIS_WS_JWT_USER_FIELD) is what its claim"
        f" {conf.BAZIS_WS_JWT_CLAIM!r} (BAZIS_WS_JWT_CLAIM) says"
    )


def _lookup(claims: tokens.Claims, model: Any) -> tuple[str, str | int]:
    """Return the field and the value that name the user: in our own tokens the primary key."""
    if claims.key is not None:
        return "pk", claims.key
    return conf.BAZIS_WS_JWT_USER_FIELD or model.USERNAME_FIELD, claims.user
