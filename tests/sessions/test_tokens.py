"""Verifying, issuing and revoking tokens."""

import json
import time
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.views.debug import ExceptionReporter
from jose import jwk, jwt

from bazis_ws_channels import auth
from bazis_ws_channels.auth import tokens
from bazis_ws_channels.auth.identity import aauthenticate
from bazis_ws_channels.exceptions import AuthenticationFailed, TokenError
from tests.sessions import callables
from tests.sessions.forging import b64, claims, ec_pair, forge, rsa_pair, sign

SECRETS = {
    "HS256": lambda: ("h" * 40, "h" * 40),
    "HS384": lambda: ("h" * 50, "h" * 50),
    "HS512": lambda: ("h" * 70, "h" * 70),
    "RS256": rsa_pair,
    "RS512": rsa_pair,
    "ES256": ec_pair,
}


def refused(token):
    """Return the error code that a token gets."""
    with pytest.raises(TokenError) as caught:
        tokens.verify(token)
    return caught.value.code


# --- algorithms and keys --------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SECRETS)
def test_algorithm(settings, algorithm):
    """A token of the configured algorithm and key is verified, and another key's is not."""
    private, public = SECRETS[algorithm]()
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = algorithm, public
    assert tokens.verify(sign(key=private, algorithm=algorithm)).user == "alice"
    other = {"HS": "x" * 70, "RS": rsa_pair("other")[0], "ES": ec_pair("other")[0]}[algorithm[:2]]
    assert refused(sign(key=other, algorithm=algorithm)) == "invalid_token"


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_several_algorithms(settings, algorithm):
    """Each algorithm of the list is accepted, whichever comes first."""
    settings.BAZIS_JWT_SESSION_ALG = ["HS256", "HS512"]
    assert tokens.verify(sign(algorithm=algorithm)).user == "alice"


def test_an_algorithm_outside_the_list_is_refused(settings):
    """HS512 with the right secret is refused where HS256 is configured."""
    assert refused(sign(algorithm="HS512")) == "invalid_token"


@pytest.mark.parametrize(
    ("algorithm", "private"), [("RS256", rsa_pair()[0]), ("ES256", ec_pair()[0])]
)
def test_key_set_of_both_kinds(settings, algorithm, private):
    """A JWK set with an RSA and an EC key verifies tokens of both; a mixed-up kid is refused."""
    keys = [
        {**jwk.construct(pair()[1], alg).to_dict(), "kid": alg}
        for alg, pair in (("RS256", rsa_pair), ("ES256", ec_pair))
    ]
    settings.BAZIS_JWT_SESSION_ALG = ["RS256", "ES256"]
    settings.BAZIS_WS_JWT_KEY = json.loads(json.dumps({"keys": keys}))
    good = sign(key=private, algorithm=algorithm, headers={"kid": algorithm})
    assert tokens.verify(good).user == "alice"
    other = {"RS256": "ES256", "ES256": "RS256"}[algorithm]
    mixed = sign(key=private, algorithm=algorithm, headers={"kid": other})
    assert refused(mixed) == "invalid_token"


@pytest.mark.parametrize(("algorithm", "kind"), [("RS256", rsa_pair), ("ES256", ec_pair)])
def test_a_list_of_public_key_algorithms_with_one_key(settings, algorithm, kind):
    """A token of an accepted algorithm that the one key isn't for is the client's fault."""
    settings.BAZIS_JWT_SESSION_ALG = ["RS256", "ES256"]
    settings.BAZIS_WS_JWT_KEY = kind()[1]
    assert tokens.verify(sign(key=kind()[0], algorithm=algorithm)).user == "alice"
    other, other_kind = ("ES256", ec_pair) if algorithm == "RS256" else ("RS256", rsa_pair)
    assert refused(sign(key=other_kind()[0], algorithm=other)) == "invalid_token"


def test_keys_by_kid(settings):
    """The kid chooses among several keys; one that is missing or unknown is refused."""
    settings.BAZIS_WS_JWT_KEY = {"old": "o" * 40, "new": "n" * 40}
    assert tokens.verify(sign(key="o" * 40, headers={"kid": "old"})).user == "alice"
    assert tokens.verify(sign(key="n" * 40, headers={"kid": "new"})).user == "alice"
    assert refused(sign(key="o" * 40, headers={"kid": "new"})) == "invalid_token"
    assert refused(sign(key="o" * 40, headers={"kid": "none"})) == "invalid_token"
    assert refused(sign(key="o" * 40)) == "invalid_token"


def test_the_only_key_needs_no_kid(settings):
    """With one key, a token may come without a kid."""
    settings.BAZIS_WS_JWT_KEY = {"only": "o" * 40}
    assert tokens.verify(sign(key="o" * 40)).user == "alice"


@pytest.mark.parametrize("kid", [5, None, [], {}, "", "\x00", "\ud800"])
def test_odd_kid(settings, kid):
    """A kid that is no key's is refused, whatever it is."""
    settings.BAZIS_WS_JWT_KEY = {"old": "o" * 40, "new": "n" * 40}
    header = {"alg": "HS256", "kid": kid}
    assert refused(forge(header, claims(), "o" * 40)) == "invalid_token"


def test_jwk(settings):
    """A single JWK serves as the key."""
    settings.BAZIS_WS_JWT_KEY = {"kty": "oct", "k": b64("j" * 40)}
    assert tokens.verify(sign(key="j" * 40)).user == "alice"


@pytest.mark.parametrize("key", [callables.by_kid, "tests.sessions.callables.by_kid"])
def test_callable(settings, key):
    """A callable, or its path, is asked for the key of a kid; None means that there is none."""
    settings.BAZIS_WS_JWT_KEY = key
    good = sign(key=callables.CURRENT, headers={"kid": "current"})
    assert tokens.verify(good).user == "alice"
    assert refused(sign(key=callables.CURRENT, headers={"kid": "gone"})) == "invalid_token"


@pytest.mark.parametrize("key", [callables.broken, "tests.sessions.callables.broken"])
def test_callable_that_raises(settings, key):
    """A callable that raises is our fault, not the token's."""
    settings.BAZIS_WS_JWT_KEY = key
    with pytest.raises(ImproperlyConfigured, match="the key service is out of reach"):
        tokens.verify(sign())


async def test_callable_may_use_the_database(settings, alice):
    """A callable may block: it runs in a thread, where the ORM is allowed."""
    settings.BAZIS_WS_JWT_KEY = callables.from_database
    identity = await aauthenticate(sign(key=callables.CURRENT))
    assert identity.user == alice


def test_secret_key_fallbacks(settings):
    """Tokens of a former SECRET_KEY are good while it is a fallback; new ones aren't its."""
    former = sign()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "new-" + "0123456789" * 4
    assert tokens.verify(former).user == "alice"
    assert jwt.decode(sign(), settings.SECRET_KEY, algorithms=["HS256"])
    settings.SECRET_KEY_FALLBACKS = []
    assert refused(former) == "invalid_token"


@pytest.mark.parametrize("key", ["", b"", {}, {"a": ""}])
def test_empty_key(settings, key):
    """An empty key is never used, or anybody could sign."""
    settings.BAZIS_WS_JWT_KEY = key
    empty = forge({"alg": "HS256"}, claims())
    with pytest.raises((ImproperlyConfigured, TokenError)):
        tokens.verify(empty)


@pytest.mark.parametrize("mixed", [["HS256", "RS256"], ["none"], ["PS256"], [], "", "hs256"])
def test_algorithms_that_are_refused(settings, mixed):
    """Algorithms of two families, unknown ones and none at all are an error in the settings."""
    settings.BAZIS_JWT_SESSION_ALG = mixed
    with pytest.raises(ImproperlyConfigured, match="BAZIS_JWT_SESSION_ALG"):
        tokens.verify(sign())


# --- claims ---------------------------------------------------------------------------------


def test_audience(settings):
    """A configured audience must be there and match."""
    settings.BAZIS_WS_JWT_AUDIENCE = "ws"
    assert tokens.verify(sign(aud="ws")).user == "alice"
    assert tokens.verify(sign(aud=["api", "ws"])).user == "alice"
    assert refused(sign(aud="api")) == "invalid_token"
    assert refused(sign()) == "invalid_token"


def test_audience_that_nobody_asked_for():
    """A token for somebody else's audience is refused where none is configured."""
    assert refused(sign(aud="somebody else")) == "invalid_token"


def test_issuer(settings):
    """A configured issuer must be there and match."""
    settings.BAZIS_WS_JWT_ISSUER = "https://id.example.com"
    assert tokens.verify(sign(iss="https://id.example.com")).user == "alice"
    assert refused(sign(iss="https://evil.example.com")) == "invalid_token"
    assert refused(sign()) == "invalid_token"


def test_not_before(settings):
    """A token isn't good before its `nbf`, but for the leeway."""
    early = sign(nbf=int(time.time()) + 30)
    assert refused(early) == "invalid_token"
    settings.BAZIS_WS_JWT_LEEWAY = 60
    assert tokens.verify(early).user == "alice"


def test_leeway_of_expiry(settings):
    """An expired token is good within the leeway and not beyond."""
    late = sign(exp=int(time.time()) - 30)
    assert refused(late) == "expired_token"
    settings.BAZIS_WS_JWT_LEEWAY = 60
    assert tokens.verify(late).user == "alice"
    assert refused(sign(exp=int(time.time()) - 90)) == "expired_token"


@pytest.mark.parametrize("exp", [..., None, "9999999999", 9999999999.5, 10**12, 10**30, [], {}])
def test_odd_expiry(exp):
    """An `exp` that is missing, or no whole second within reach, is refused."""
    assert refused(forge({"alg": "HS256"}, claims(exp=exp))) == "invalid_token"


@pytest.mark.parametrize("sub", [..., None, True, 5, 5.5, "", [], {}])
def test_odd_subject(sub):
    """A `sub` that is no string with something in it is refused."""
    assert refused(forge({"alg": "HS256"}, claims(sub))) == "invalid_token"


@pytest.mark.parametrize(
    "claim",
    [{"iat": "now"}, {"iat": -1}, {"iat": 10**30}, {"iat": True}, {"jti": 5}, {"jti": {}}],
)
def test_odd_issue(claim):
    """An `iat` that is no time, or a `jti` that is no string, is refused: they can't be revoked."""
    assert refused(forge({"alg": "HS256"}, claims(**claim))) == "invalid_token"


def test_issued_in_the_future(settings):
    """A token of the future could not be revoked by a moment; but hosts' clocks differ."""
    now = int(time.time())
    assert tokens.verify(sign(iat=now + 25)).user == "alice"
    assert refused(sign(iat=now + 40)) == "invalid_token"
    settings.BAZIS_WS_JWT_LEEWAY = 60
    assert tokens.verify(sign(iat=now + 55)).user == "alice"
    assert refused(sign(iat=now + 90)) == "invalid_token"


def test_refresh_token():
    """A refresh token is for the token service and opens no socket."""
    assert refused(sign(token_type="refresh")) == "invalid_token"
    assert tokens.verify(sign(token_type="access")).user == "alice"


def test_length_is_limited_before_parsing(settings):
    """A token over the limit is refused, even a good one."""
    good = sign(padding="x" * 500)
    assert tokens.verify(good).user == "alice"
    settings.BAZIS_WS_MAX_TOKEN_BYTES = len(good) - 1
    assert refused(good) == "invalid_token"


@pytest.mark.parametrize("token", ["", ".", "..", "...", "a.b.c", "\ud800.a.b", "é.é.é", None, 5])
def test_no_token_at_all(token):
    """Values that aren't tokens are refused as invalid ones."""
    assert refused(token) == "invalid_token"


# --- users ----------------------------------------------------------------------------------


def test_user_by_username(alice):
    """By default the claim `sub` holds the username."""
    assert auth.authenticate(sign("alice")).user == alice


def test_user_by_another_field(settings, alice):
    """Claim and field are settings."""
    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = "mail", "email"
    token = sign(..., mail="alice@example.com")
    assert auth.authenticate(token).user == alice


@pytest.mark.parametrize("pk", [10**30, -1, "x", "1; DROP TABLE", "\ud800", "\x00", "", 0])
def test_user_that_cannot_be(settings, transactional_db, pk):
    """A value that the user field can't hold names nobody, without an error of the database."""
    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = "user_id", "pk"
    with pytest.raises(AuthenticationFailed) as caught:
        auth.authenticate(forge({"alg": "HS256"}, claims(..., user_id=pk)))
    assert caught.value.code in ("user_not_found", "invalid_token")


def test_inactive_user(make_user):
    """An inactive user is refused as if there were none."""
    make_user("alice", is_active=False)
    with pytest.raises(AuthenticationFailed) as caught:
        auth.authenticate(sign("alice"))
    assert caught.value.code == "user_not_found"


def test_simple_jwt(settings, alice):
    """Simple JWT's access tokens are accepted by two settings, its refresh tokens aren't."""
    from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = "user_id", "pk"
    assert auth.authenticate(str(AccessToken.for_user(alice))).user == alice
    assert refused(str(RefreshToken.for_user(alice))) == "invalid_token"


# --- issuing --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SECRETS)
def test_issued_tokens_are_verified(settings, alice, algorithm):
    """Tokens of `ws_token` are accepted with every algorithm."""
    private, public = SECRETS[algorithm]()
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = algorithm, public
    settings.BAZIS_WS_JWT_SIGNING_KEY = private
    settings.BAZIS_WS_JWT_AUDIENCE, settings.BAZIS_WS_JWT_ISSUER = "ws", "us"
    assert auth.authenticate(alice.ws_token()).user == alice


@pytest.mark.parametrize("field", ["pk", "username", "email"])
@pytest.mark.parametrize("claim", ["sub", "user_id"])
def test_issued_tokens_name_the_user(settings, alice, claim, field):
    """`ws_token` follows the settings of claim and field."""
    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = claim, field
    assert auth.authenticate(alice.ws_token()).user == alice


@pytest.mark.parametrize(
    "keys",
    [
        {"new": "n" * 40, "old": "o" * 40},
        {"keys": [{"kty": "oct", "k": b64("n" * 40), "kid": "new"}]},
        {"kty": "oct", "k": b64("n" * 40), "kid": "new"},
    ],
)
def test_issued_tokens_carry_the_kid(settings, alice, keys):
    """With several keys `ws_token` signs with the first one and says which."""
    settings.BAZIS_WS_JWT_KEY = keys
    token = alice.ws_token()
    assert jwt.get_unverified_header(token)["kid"] == "new"
    assert auth.authenticate(token).user == alice


def test_issuing_without_a_private_key(settings, alice):
    """Without a key to sign with, the error says which setting is missing."""
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = "RS256", rsa_pair()[1]
    with pytest.raises(ImproperlyConfigured, match="BAZIS_WS_JWT_SIGNING_KEY"):
        alice.ws_token()


@pytest.mark.parametrize("lifetime", [60, 60.0, timedelta(minutes=1)])
def test_lifetime(alice, lifetime):
    """A lifetime is seconds or a timedelta, in the call or in the setting."""
    left = tokens.verify(alice.ws_token(lifetime)).expires_at - time.time()
    assert 0 < left - 58 < 4


def test_default_lifetime(settings, alice):
    """Without a lifetime, the setting's counts."""
    settings.BAZIS_WS_TOKEN_LIFETIME = timedelta(hours=1)
    left = tokens.verify(alice.ws_token()).expires_at - time.time()
    assert 0 < left - 3598 < 4


def test_unsaved_user(django_user_model):
    """A user without a primary key gets no token."""
    with pytest.raises(ValueError, match="save it first"):
        django_user_model(username="nobody").ws_token()


# --- our own tokens -------------------------------------------------------------------------


def opened(token):
    """Return the user whose token this is, or the error code."""
    try:
        return auth.authenticate(token).user
    except AuthenticationFailed as error:
        return error.code


def forged(token, header=None, **changes):
    """Return an own token with other claims, signed with the right secret."""
    claims = {**jwt.get_unverified_claims(token), **changes}
    kept = {name: value for name, value in claims.items() if value is not ...}
    return forge({**jwt.get_unverified_header(token), **(header or {})}, kept)


def test_the_key_decides(alice, make_user):
    """A renamed user's token is still that user's; the next owner of the name gets nothing."""
    token = alice.ws_token()
    assert jwt.get_unverified_claims(token)["sub"] == "alice"
    alice.username = "carol"
    alice.save()
    other = make_user("alice")
    assert opened(token) == alice
    assert opened(other.ws_token()) == other
    alice.delete()
    make_user("carol")
    assert opened(token) == "user_not_found"


def test_a_new_password_voids_own_tokens(settings, alice):
    """Without Redis: by the stamp. A project that doesn't want that says so."""
    type(alice).objects.filter(pk=alice.pk).update(password="!")
    assert opened(alice.ws_token()) == "invalid_token"
    settings.BAZIS_WS_END_ON_PASSWORD_CHANGE = False
    assert opened(alice.ws_token()) == alice
    settings.BAZIS_WS_END_ON_PASSWORD_CHANGE = True
    alice.refresh_from_db()
    assert opened(alice.ws_token()) == alice


def test_stamps_and_secret_key_fallbacks(settings, alice):
    """A token stamped under a former SECRET_KEY is good while it is a fallback."""
    token = alice.ws_token()
    former = settings.SECRET_KEY
    settings.SECRET_KEY = "new-" + "0123456789" * 4
    settings.SECRET_KEY_FALLBACKS = ["other-" + "0123456789" * 4, former]
    assert opened(token) == alice
    settings.SECRET_KEY_FALLBACKS = []
    assert opened(token) == "invalid_token"


def test_the_stamp_tells_nothing(alice):
    """Neither the hash nor what Django keeps in its sessions is in a token."""
    token = alice.ws_token()
    text = json.dumps(jwt.get_unverified_claims(token))
    assert alice.password not in text
    assert alice.get_session_auth_hash() not in text
    assert jwt.get_unverified_claims(token)["stamp"] not in repr(auth.authenticate(token))


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        ({}, {"aud": ...}),
        ({}, {"aud": "another service"}),
        ({}, {"uid": ...}),
        ({}, {"uid": True}),
        ({}, {"uid": [1]}),
        ({}, {"stamp": ...}),
        ({}, {"stamp": ""}),
        ({}, {"stamp": None}),
        ({}, {"ns": "tenant-b"}),
        ({"typ": "JWT"}, {}),  # its audience is not asked for
    ],
)
def test_own_tokens_are_whole(alice, header, changes):
    """A token that says it is ours has all that ours have."""
    assert opened(alice.ws_token()) == alice
    assert opened(forged(alice.ws_token(), header, **changes)) == "invalid_token"


def test_only_own_tokens(settings, alice):
    """Another JWT of the same secret opens nothing where own tokens are required."""
    plain = sign("alice")
    as_ours = forge({"alg": "HS256", "typ": "JWT"}, claims("alice", aud="bazis-ws", uid=alice.pk))
    assert opened(plain) == alice
    settings.BAZIS_WS_REQUIRE_OWN_TOKENS = True
    assert [opened(each) for each in (plain, as_ours)] == ["invalid_token"] * 2
    assert opened(alice.ws_token()) == alice
    settings.BAZIS_WS_JWT_AUDIENCE = "chat"
    assert opened(alice.ws_token()) == alice


def test_own_tokens_know_their_namespace(settings, alice):
    """Tenants' primary keys repeat: a token of one opens nothing of another."""
    settings.BAZIS_WS_NAMESPACE = "tenant-a"
    token = alice.ws_token()
    assert opened(token) == alice
    for other in ("tenant-b", ""):
        settings.BAZIS_WS_NAMESPACE = other
        assert opened(token) == "invalid_token"


def test_a_value_that_several_users_share(settings, alice, make_user):
    """A field that isn't unique names nobody, rather than somebody."""
    make_user("second")
    type(alice).objects.update(email="same@example.com")
    settings.BAZIS_WS_JWT_USER_FIELD = "email"
    assert opened(sign("same@example.com")) == "user_not_found"


@pytest.mark.parametrize(
    "call",
    [auth.authenticate, auth.user_from_token, auth.revoke_token, async_to_sync(aauthenticate)],
)
def test_tracebacks_hold_no_token(settings, alice, call):
    """What Django reports of a failure has no token among its variables."""
    settings.BAZIS_WS_JWT_USER_FIELD = "no_such_field"
    token = sign("alice", jti="x")
    with pytest.raises(FieldError) as caught:
        call(token)
    frames = ExceptionReporter(None, caught.type, caught.value, caught.tb).get_traceback_data()
    ours = [frame for frame in frames["frames"] if "bazis_ws_channels/auth" in frame["filename"]]
    assert len(ours) >= 2
    assert token not in str([frame["vars"] for frame in ours])


# --- revoking -------------------------------------------------------------------------------


def accepted(token):
    """Tell whether an HTTP view would accept a token."""
    try:
        return auth.user_from_token(token) is not None
    except AuthenticationFailed:
        return False


def test_revoke_one_token(alice):
    """A token revoked by its `jti` is refused; the user's others aren't."""
    one, other = alice.ws_token(), alice.ws_token()
    auth.revoke_token(one)
    assert (accepted(one), accepted(other)) == (False, True)


def test_revoking_a_token_that_cannot_be_named(alice):
    """A token without `jti` can't be revoked alone, and the error says so."""
    with pytest.raises(TokenError, match="jti"):
        auth.revoke_token(sign("alice"))


def test_revoke_before_a_moment(alice, bob):
    """Tokens issued before the moment are refused; later ones and other users' aren't."""
    before, without, others = alice.ws_token(), sign("alice"), bob.ws_token()
    auth.revoke_before(alice)
    after = alice.ws_token()
    assert [accepted(each) for each in (before, without, after, others)] == [
        False,
        False,
        True,
        True,
    ]


def test_revoking_never_goes_back(alice):
    """An earlier moment doesn't take back a later one."""
    token = alice.ws_token()
    auth.revoke_before(alice)
    auth.revoke_before(alice, time.time() - 3600)
    assert not accepted(token)


def test_revocations_are_remembered_as_long_as_needed(settings, alice, redis):
    """A revoked token is remembered until it would have expired, a moment as long as set."""
    settings.BAZIS_WS_REVOCATION_SECONDS = 500
    token = alice.ws_token(lifetime=100)
    auth.revoke_token(token)
    auth.revoke_before(alice)
    jti = tokens.verify(token).jti
    assert 90 < redis.ttl(f"user_ws.jti.{jti}.token") <= 102
    assert 490 < redis.ttl(f"user_ws.{alice.pk}.revoked") <= 500


def test_a_short_revocation_does_not_shorten_a_long_one(settings, alice, redis):
    """Revoking again under a shorter setting doesn't forget sooner what was revoked."""
    settings.BAZIS_WS_REVOCATION_SECONDS = 500
    auth.revoke_before(alice)
    settings.BAZIS_WS_REVOCATION_SECONDS = 5
    auth.revoke_before(alice, time.time() - 3600)
    assert redis.ttl(f"user_ws.{alice.pk}.revoked") > 400


async def test_async_twins(alice):
    """`arevoke_token` and `arevoke_before` do the same."""
    one, other = alice.ws_token(), alice.ws_token()
    await auth.arevoke_token(one)
    assert not await sync_to_async(accepted)(one)
    assert await sync_to_async(accepted)(other)
    await auth.arevoke_before(alice)
    assert not await sync_to_async(accepted)(other)
