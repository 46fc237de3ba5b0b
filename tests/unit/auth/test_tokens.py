"""Verifying and issuing tokens."""

import time
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from bazis_ws_channels.auth.tokens import Claims, issue, verify
from bazis_ws_channels.exceptions import TokenError
from tests.sessions.forging import claims, forge, rsa_pair, sign

HEADER = {"alg": "HS256", "typ": "JWT"}


def refused(token):
    """Return the error code of a token."""
    with pytest.raises(TokenError) as caught:
        verify(token)
    assert "ey" not in str(caught.value)
    return caught.value.code


def test_what_a_token_says():
    """Numbers and strings as they are."""
    now = int(time.time())
    token = sign("alice", exp=now + 60, iat=now, jti="t")
    assert verify(token) == Claims("alice", now + 60, now, "t")
    assert verify(sign(exp=now + 60)) == Claims("alice", now + 60, None, None)


@pytest.mark.parametrize("token", [None, 5, b"a.b.c", "", ".", "a.b", "x" * 9000, "ü.ü.ü", ["a"]])
def test_what_is_no_token(token):
    """Whatever a client sends."""
    assert refused(token) == "invalid_token"


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_text_raises_anything_else(text):
    """Not even three parts of rubbish."""
    for token in (text, f"{text!r}.{text!r}.{text!r}"):
        assert refused(token) == "invalid_token"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"}, {"alg": None}, {"alg": ["HS256"]}, {}, {"alg": "HS384"}, "[]", "7", "null",
        {"alg": "HS256", "kid": 5}, {"alg": "HS256", "kid": ["a"]}, '{"a":' * 5000,
    ],
    ids=lambda value: f"{value!r:.25}",
)  # fmt: skip
def test_odd_headers(header):
    """Looked at before any key."""
    assert refused(forge(header, claims())) == "invalid_token"


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        ({"exp": ...}, "invalid_token"),
        ({"exp": None}, "invalid_token"),
        ({"exp": "soon"}, "invalid_token"),
        ({"exp": True}, "expired_token"),
        ({"exp": 1}, "expired_token"),
        ({"exp": 10**15}, "invalid_token"),
        ({"exp": 2 * 10**9 + 0.5}, "invalid_token"),
        ({"sub": ...}, "invalid_token"),
        ({"sub": ""}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"sub": ["alice"]}, "invalid_token"),
        ({"iat": "now"}, "invalid_token"),
        ({"iat": True}, "invalid_token"),
        ({"iat": -1}, "invalid_token"),
        ({"iat": 10**20}, "invalid_token"),
        ({"iat": []}, "invalid_token"),
        ({"nbf": 10**11}, "invalid_token"),
        ({"jti": 7}, "invalid_token"),
        ({"token_type": "refresh"}, "invalid_token"),
        ({"token_type": None}, "invalid_token"),
    ],
    ids=repr,
)
def test_odd_claims(odd, code):
    """Signed by the right key, and wrong all the same."""
    assert refused(forge(HEADER, claims(**odd))) == code


@pytest.mark.parametrize("user", [True, 1.5, {}])
def test_odd_users_behind_another_claim(settings, user):
    """Which jose does not look at."""
    settings.BAZIS_WS_JWT_CLAIM = "user_id"
    assert refused(forge(HEADER, claims(user_id=user))) == "invalid_token"
    assert verify(forge(HEADER, claims(user_id=7))).user == 7


def test_another_secret(settings):
    """And one that was in use before."""
    old = sign(key="o" * 40)
    assert refused(old) == "invalid_token"
    settings.SECRET_KEY_FALLBACKS = ["o" * 40]
    assert verify(old).user == "alice"


@pytest.mark.parametrize(("claim", "setting"), [("aud", "AUDIENCE"), ("iss", "ISSUER")])
def test_audience_and_issuer(settings, claim, setting):
    """Required where one is set."""
    setattr(settings, f"BAZIS_WS_JWT_{setting}", "here")
    assert verify(sign(**{claim: "here"})).user == "alice"
    assert refused(sign()) == "invalid_token"
    assert refused(sign(**{claim: "there"})) == "invalid_token"


def test_leeway(settings):
    """Of differing clocks."""
    token = sign(exp=int(time.time()) - 5)
    assert refused(token) == "expired_token"
    settings.BAZIS_WS_JWT_LEEWAY = 60
    assert verify(token).user == "alice"


def test_a_broken_setting_is_our_error(settings):
    """Not the client's."""
    settings.BAZIS_WS_JWT_KEY = ""
    with pytest.raises(ImproperlyConfigured):
        verify(sign())


# --- issuing --------------------------------------------------------------------------------


def test_an_issued_token_is_accepted(make_user):
    """By default for a quarter of an hour, with an id of its own."""
    alice = make_user(1)
    first, second = verify(issue(alice)), verify(issue(alice))
    assert first.user == "user1"
    assert 890 <= first.expires_at - time.time() <= 901
    assert abs(first.issued_at - time.time()) < 5
    assert first.jti != second.jti


@pytest.mark.parametrize("lifetime", [60, 60.5, timedelta(minutes=1)])
def test_lifetime(make_user, lifetime):
    """Seconds, or a timedelta."""
    left = verify(issue(make_user(1), lifetime)).expires_at - time.time()
    assert 58 < left <= 62


@pytest.mark.parametrize(
    ("claim", "field", "value"),
    [("sub", None, "user1"), ("sub", "pk", "1"), ("user_id", "pk", 1), ("mail", "email", "a@b.c")],
)
def test_which_field_goes_into_which_claim(settings, make_user, claim, field, value):
    """`sub` is always a string."""
    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = claim, field
    assert verify(issue(make_user(1, email="a@b.c"))).user == value


def test_audience_and_issuer_are_issued(settings, make_user):
    """As they will be asked for."""
    settings.BAZIS_WS_JWT_AUDIENCE, settings.BAZIS_WS_JWT_ISSUER = "here", "us"
    assert verify(issue(make_user(1))).user == "user1"


def test_kid_of_the_signing_key(settings, make_user):
    """So that it is found among several."""
    private, public = rsa_pair()
    settings.BAZIS_JWT_SESSION_ALG = "RS256"
    settings.BAZIS_WS_JWT_KEY = {"a": rsa_pair("other")[1], "b": public}
    settings.BAZIS_WS_JWT_SIGNING_KEY = {"b": private}
    assert verify(issue(make_user(1))).user == "user1"


def test_nobody_unsaved_gets_a_token(make_user):
    """It would be somebody else's one day."""
    with pytest.raises(ValueError, match="save"):
        issue(make_user(None))


@pytest.mark.parametrize(
    ("make", "names", "why"),
    [
        (lambda: "no token", {}, "it is no JWT, and BAZIS_WS_ANONYMOUS is off"),
        (lambda: "short", {"BAZIS_WS_ANONYMOUS": True}, "it is no JWT, nor of 16 to 128"),
        (lambda: "x" * 9000, {}, "BAZIS_WS_MAX_TOKEN_BYTES"),
        (lambda: sign("a", exp=9e9), {}, "its exp is no time"),
        (lambda: forge({"alg": "HS384"}, claims()), {}, "BAZIS_JWT_SESSION_ALG"),
        (lambda: sign("a"), {"BAZIS_WS_REQUIRE_OWN_TOKENS": True}, "BAZIS_WS_REQUIRE_OWN_TOKENS"),
        (lambda: sign("a"), {"BAZIS_WS_JWT_CLAIM": "user_id"}, "no user in the claim 'user_id'"),
        (lambda: sign("a"), {"BAZIS_WS_JWT_AUDIENCE": "shop"}, "aud"),
        (
            lambda: sign("a"),
            {"BAZIS_WS_JWT_KEY": "another key, long enough for it"},
            "Signature",
        ),
        (lambda: sign("a", token_type="refresh"), {}, "token_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_token_is_refused(settings, make, names, why):
    """It names the setting or the claim, and holds nothing of the token."""
    for name, value in names.items():
        setattr(settings, name, value)
    token = make()
    with pytest.raises(TokenError) as caught:
        verify(token)
    assert why in caught.value.why
    assert caught.value.detail == "Invalid token"
    assert not any(part in caught.value.why for part in token.split(".") if len(part) > 8)
