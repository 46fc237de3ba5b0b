"""Who somebody is: what needs no database."""

import time
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.db import DataError
from django.utils import timezone

from bazis_ws_channels import auth
from bazis_ws_channels.auth import tokens
from bazis_ws_channels.auth.arrivals import aauthenticate
from bazis_ws_channels.auth.identity import (
    Identity,
    asession_identity,
    authenticate,
    identify,
    user_from_token,
)
from bazis_ws_channels.auth.tokens import Claims, issue
from bazis_ws_channels.exceptions import AuthenticationFailed, TokenError
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Revoked
from tests.sessions.forging import sign


def test_a_token_is_its_users(people):
    """With the key in the namespace where the user was found."""
    alice = people["user1"]
    identity = authenticate(issue(alice))
    assert identity.user is alice
    assert identity.key == "1"
    assert identity.claims.user == "user1"


@pytest.mark.parametrize("error", [ValueError(), TypeError(), OverflowError(), DataError()])
def test_a_user_that_cannot_be(people, error):
    """A value that the field can't hold is nobody's."""
    with pytest.raises(AuthenticationFailed) as caught:
        identify(Claims(error, 1, None, None))
    assert caught.value.code == "user_not_found"


def test_nobody_and_the_inactive(people, make_user):
    """Are told the same."""
    for user in (people["user2"], make_user(9)):
        with pytest.raises(AuthenticationFailed) as caught:
            authenticate(issue(user))
        assert caught.value.code == "user_not_found"


async def test_a_bad_token_gets_no_thread(monkeypatch):
    """Unless its key comes from a callable."""
    monkeypatch.setattr(
        "bazis_ws_channels.auth.identity.database_sync_to_async",
        lambda function: lambda *args: pytest.fail("a thread"),
    )
    with pytest.raises(TokenError):
        await aauthenticate("nonsense")


def test_for_http_views(people):
    """The user, unless the token is revoked."""
    token = issue(people["user1"])
    assert user_from_token(token) is people["user1"]
    auth.revoke_before(1)
    with pytest.raises(AuthenticationFailed, match="revoked"):
        user_from_token(token)


def test_one_revoked_token(people):
    """Others go on."""
    token, other = (issue(people["user1"]) for _ in range(2))
    auth.revoke_token(token)
    with pytest.raises(AuthenticationFailed, match="revoked"):
        user_from_token(token)
    assert user_from_token(other) is people["user1"]
    auth.revoke_token(issue(people["user2"]))  # who can have no sessions


def test_disconnect_revokes_unless_told_otherwise(people):
    """And counts the connections."""
    token = issue(people["user1"])
    assert auth.disconnect(1, revoke=False) == 0
    assert user_from_token(token)
    assert auth.disconnect(people["user1"]) == 0
    with pytest.raises(AuthenticationFailed):
        user_from_token(token)


@pytest.mark.parametrize("is_aware", [True, False])
def test_the_moment_of_a_revocation_may_be_a_datetime(people, settings, is_aware):
    """A naive one is of TIME_ZONE, as in the ORM."""
    settings.TIME_ZONE = "Asia/Tokyo"
    token = issue(people["user1"])
    for hours, is_void in [(-1, False), (1, True)]:
        moment = timezone.now() + timedelta(hours=hours)
        naive = timezone.make_naive(moment, timezone.get_default_timezone())
        auth.revoke_before(1, moment if is_aware else naive)
        assert async_to_sync(get_revoked)(people["user1"], token) is is_void


async def test_async_twins(people):
    """The same."""
    token = issue(people["user1"])
    assert await auth.adisconnect(1, "kicked") == 0
    await auth.arevoke_before(1, time.time() - 1000)
    assert await get_revoked(people["user1"], token)


async def get_revoked(user, token):
    """Tell whether a token is void."""
    identity = Identity(user, "1", tokens.verify(token), time.monotonic())
    return (await get_store().aask(Revoked([("1", identity.token)]))) == [True]


async def test_a_django_session(make_user):
    """Of somebody who is signed in and active."""
    alice = make_user(1)
    identity = await asession_identity(alice)
    assert (identity.user, identity.key, identity.claims) == (alice, "1", None)
    for nobody in (None, AnonymousUser(), make_user(2, is_active=False)):
        assert await asession_identity(nobody) is None


async def test_until_when(settings, make_user):
    """A token's time, with the leeway; a Django session has none."""
    alice = make_user(1)
    identity = Identity(alice, "1", Claims("user1", 100, 1.5, "t"), 0.0)
    assert identity.expires_at == 100
    settings.BAZIS_WS_JWT_LEEWAY = 5
    assert identity.expires_at == 105
    assert (await asession_identity(alice)).expires_at is None


def test_what_may_make_it_void(make_user):
    """A token's time of issue and id; how long ago a Django session was looked at."""
    alice = make_user(1)
    identity = Identity(alice, "1", Claims("user1", 100, 1.5, "t"), 0.0)
    assert (identity.token.issued_us, identity.token.jti) == (1_500_000, "t")
    bare = Identity(alice, "1", Claims("user1", 100, None, None), 0.0)
    assert (bare.token.issued_us, bare.token.jti, bare.issued_us) == (None, None, None)
    session = Identity(alice, "1", None, time.monotonic() - 2)
    assert 2_000_000 <= session.token.age_us < 3_000_000
    assert session.issued_us is None


async def test_a_key_that_may_have_to_be_waited_for_is_found_in_a_thread(people, settings):
    """With all the rest."""
    token = issue(people["user1"])
    settings.BAZIS_WS_JWT_KEY = lambda kid: settings.SECRET_KEY
    assert (await aauthenticate(token)).user is people["user1"]


async def test_revoking_one_token_from_async_code(people):
    """Which needs a name to be known by."""
    token = issue(people["user1"])
    await auth.arevoke_token(token)
    assert await get_revoked(people["user1"], token)
    with pytest.raises(TokenError, match="without jti"):
        await auth.arevoke_token(sign("user1"))
    await auth.arevoke_token(issue(people["user2"]))  # who can have no sessions
