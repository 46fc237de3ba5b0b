"""Tokens that open sessions without a user, and what is none of them."""

import base64
import json

import pytest
from django.contrib.auth.models import AnonymousUser
from hypothesis import given
from hypothesis import strategies as st

from bazis_ws_channels import auth, groups
from bazis_ws_channels.auth.anonymous import checked, is_anonymous
from bazis_ws_channels.auth.arrivals import aauthenticate
from bazis_ws_channels.exceptions import TokenError
from tests.sessions.forging import sign

TOKEN = "0123456789abcdef"
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


@pytest.fixture
def on(settings):
    """Anonymous sessions are allowed."""
    settings.BAZIS_WS_ANONYMOUS = True


def part_of_jwt(content):
    """Return a JSON value as the part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


BAD = [
    *("", "x" * 15, "x" * 129, "x" * 16 + "\n", "\n" + "x" * 16, "x" * 16 + " ", " " * 20),
    *("é" * 20, "٣" * 20, "x" * 16 + "\x00", "x" * 16 + "=", "x/" * 10, "a+" * 10),
    *("user_ws.1:::::::::::", "common.common.common", "\ud800" * 20),
    # What looks like a JWT is one, and a bad one.
    *("aaaaaaaa.bbbbbbbb.cccccccc", "aaaaaaaaaaaaaaaa.bbbbbbbb", "." * 20, ".." + "x" * 20),
    *(part_of_jwt({"alg": "HS256", "typ": "JWT"}), part_of_jwt({"alg": "none"}), part_of_jwt({})),
    part_of_jwt({"sub": "alice", "exp": 2**40}),
]


@pytest.mark.parametrize("token", [token for token in BAD if token != part_of_jwt({})])
async def test_what_is_none_is_invalid(on, token):
    """And told as any bad token."""
    assert not is_anonymous(token)
    with pytest.raises(TokenError, match="invalid_token"):
        await aauthenticate(token)
    with pytest.raises(ValueError, match="16 to 128") as caught:
        checked(token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("nothing", [None, 5, b"x" * 20, ["x" * 20], TOKEN.encode()])
def test_what_is_no_string(nothing):
    """A bug of the project's."""
    with pytest.raises(TypeError, match=type(nothing).__name__):
        checked(nothing)


@given(st.text(ALPHABET, min_size=16, max_size=128))
def test_random_strings_are_some(token):
    """Whatever they begin with."""
    assert checked(token) == token


@pytest.mark.parametrize("token", ["eyJ" + "x" * 20, "eyJhbGciOiJIUzI1NiIsInR5cCI6Ik", "eyJ" * 40])
def test_a_beginning_alone_is_no_jwt(on, token):
    """One of 262,144 random strings begins so."""
    assert is_anonymous(token)


async def test_nobody_is_anonymous_by_default():
    """Everything is as without this feature."""
    assert not is_anonymous(TOKEN)
    with pytest.raises(TokenError, match="invalid_token"):
        await aauthenticate(TOKEN)


async def test_its_identity(on):
    """No user, no end, a group of its own, whose name does not tell the token."""
    identity = await aauthenticate(TOKEN)
    assert identity.is_anonymous
    assert isinstance(identity.user, AnonymousUser)
    assert (identity.claims, identity.expires_at, identity.stamp) == (None, None, "")
    assert identity.group.startswith("anonymous_ws.")
    assert groups.is_anonymous(identity.group)
    assert TOKEN not in repr(identity)
    assert (await aauthenticate(TOKEN)).group == identity.group
    assert (await aauthenticate(TOKEN + "x")).group != identity.group


async def test_its_groups(on, settings):
    """What is broadcast is for those whom the project lets hear it."""
    identity = await aauthenticate(TOKEN)
    assert identity.groups == {"user": identity.group}
    settings.BAZIS_WS_ANONYMOUS_COMMON = True
    assert identity.groups == {"user": identity.group, "common": "common"}


@pytest.mark.parametrize("namespace", ["north", "tests.unit.auth.test_anonymous.current"])
async def test_namespaces(on, settings, namespace):
    """The same token of two tenants is two; each hears its own tenant's broadcasts."""
    settings.BAZIS_WS_ANONYMOUS_COMMON = True
    without = await aauthenticate(TOKEN)
    settings.BAZIS_WS_NAMESPACE = namespace
    identity = await aauthenticate(TOKEN)
    assert identity.group != without.group
    assert identity.groups["common"] == "common.north"
    assert len(identity.group) < 100


def current():
    """Return the current tenant's name."""
    return "north"


@given(st.text(max_size=100))
def test_it_is_never_a_users_group(key):
    """Whatever a user's key is."""
    assert not groups.is_anonymous(groups.key_group(key))
    assert not groups.is_anonymous(groups.watch_group(key))
    assert not groups.is_anonymous(groups.common_group("anonymous_ws"))


def test_views_take_none(on):
    """Somebody without a user is nobody to a view."""
    for find in (auth.authenticate, auth.user_from_token):
        with pytest.raises(TokenError, match="invalid_token"):
            find(TOKEN)


async def test_jwts_are_jwts(on, people):
    """As without this feature."""
    identity = await aauthenticate(sign("user1"))
    assert (identity.is_anonymous, identity.group) == (False, "user_ws.1")
