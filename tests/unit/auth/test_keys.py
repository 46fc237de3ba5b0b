"""Keys that verify and sign, from the settings."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from jose import jwk

from bazis_ws_channels.auth import keys
from bazis_ws_channels.exceptions import TokenError
from tests.sessions.forging import ec_pair, rsa_pair

SECRET = "s" * 40


def from_the_project(kid):
    """A project's callable."""
    return {"a": SECRET}.get(kid)


def broken(kid):
    """One that fails."""
    raise LookupError("no such service")


@pytest.mark.parametrize(
    "algorithms", ["HS256", ["HS256", "HS512"], ["RS256", "ES256"], ("ES512", "RS384")]
)
def test_algorithms_of_one_family(settings, algorithms):
    """Secrets, or public keys."""
    settings.BAZIS_JWT_SESSION_ALG = algorithms
    assert keys.checked_algorithms() == (
        [algorithms] if isinstance(algorithms, str) else list(algorithms)
    )


@pytest.mark.parametrize("algorithms", ["none", "", [], ["HS256", "RS256"], ["HS256", "none"]])
def test_algorithms_of_none_or_of_two(settings, algorithms):
    """A token signed with the public key as a secret would pass."""
    settings.BAZIS_JWT_SESSION_ALG = algorithms
    with pytest.raises(ImproperlyConfigured, match="BAZIS_JWT_SESSION_ALG"):
        keys.checked_algorithms()


def test_djangos_secrets_by_default(settings):
    """The present one first, then those of before."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = SECRET, ["f" * 40]
    found = keys.verifying_keys(None, ["HS256"])
    assert [key.prepared_key for key in found] == [b"s" * 40, b"f" * 40]


JWK_SET = {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}


@pytest.mark.parametrize(
    ("source", "kid", "is_found"),
    [
        (SECRET, None, True),
        (SECRET, "any", True),
        ({"a": SECRET}, "a", True),
        ({"a": SECRET}, None, True),
        ({"a": SECRET}, "b", False),
        ({"a": SECRET, "b": SECRET}, None, False),
        ({"a": SECRET, None: SECRET}, None, True),
        (JWK_SET, "a", True),
        (JWK_SET, "b", False),
        (JWK_SET["keys"][0], "b", True),
        (from_the_project, "a", True),
        (from_the_project, "b", False),
        (f"{__name__}.from_the_project", "a", True),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_which_keys_may_have_signed(settings, source, kid, is_found):
    """By kid, where there are several."""
    settings.BAZIS_WS_JWT_KEY = source
    if is_found:
        assert len(keys.verifying_keys(kid, ["HS256"])) == 1
    else:
        with pytest.raises(TokenError) as caught:
            keys.verifying_keys(kid, ["HS256"])
        assert caught.value.code == "invalid_token"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("tests.nowhere.key", "dotted path"),
        (f"{__name__}.nothing", "dotted path"),
        (broken, "no such service"),
        ("", "empty"),
        (b"", "empty"),
        ({}, "invalid_token"),
        (lambda kid: "", "empty"),
        (42, "is no key for HS256"),
        ({"kty": "RSA"}, "is no key for HS256"),
        ({"kty": "oct"}, "is no key for HS256"),
        ({"a": 42}, "is no key for HS256"),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_a_key_that_is_none_is_our_error(settings, source, says):
    """Not the client's, unless it names one that isn't there."""
    settings.BAZIS_WS_JWT_KEY = source
    with pytest.raises((ImproperlyConfigured, TokenError), match=says):
        keys.verifying_keys(None, ["HS256"])


def test_by_kid():
    """A JWK, a JWK set, or what it is already."""
    key = {"kty": "oct", "kid": "a"}
    assert keys.by_kid(key) == {"a": key}
    assert keys.by_kid({"keys": [key]}) == {"a": key}
    assert keys.by_kid({"a": "secret"}) == {"a": "secret"}


@pytest.mark.parametrize(
    "setting",
    [None, SECRET, {"a": SECRET}, pytest.param(from_the_project, id="a callable"), "x.y"],
    ids=repr,
)
def test_signing_by_a_secret(settings, setting):
    """The verifying key serves, where it is known without a token."""
    settings.BAZIS_WS_JWT_KEY = setting
    if setting == "x.y":
        with pytest.raises(ImproperlyConfigured):
            keys.signing_key("HS256")
    elif setting is from_the_project:
        with pytest.raises(ImproperlyConfigured, match="set BAZIS_WS_JWT_SIGNING_KEY"):
            keys.signing_key("HS256")
    else:
        kid, key = keys.signing_key("HS256")
        assert kid == ("a" if isinstance(setting, dict) else None)
        assert key.sign(b"x")


def test_signing_by_a_private_key(settings):
    """Public keys verify only."""
    private, public = rsa_pair()
    settings.BAZIS_WS_JWT_KEY = public
    with pytest.raises(ImproperlyConfigured, match="verified by RS256; set BAZIS_WS_JWT_SIGNING"):
        keys.signing_key("RS256")
    settings.BAZIS_WS_JWT_SIGNING_KEY = {"k1": private}
    kid, key = keys.signing_key("RS256")
    assert kid == "k1"
    assert keys.verifying_keys(None, ["RS256"])[0].verify(b"x", key.sign(b"x"))


def test_construct_finds_the_algorithm_that_fits():
    """Of a list of both kinds; of none it says which was tried last."""
    _, public = ec_pair()
    assert keys.construct(public, ["RS256", "ES256"])
    with pytest.raises(ImproperlyConfigured, match="no key for RS256"):
        keys.construct(public, ["ES384", "RS256"])


def test_a_key_of_another_curve_verifies_nothing():
    """jose would take it."""
    _, public = ec_pair()
    with pytest.raises(ImproperlyConfigured, match="a curve of 384 bits, got one of 256"):
        keys.construct(public, ["ES384"])


def test_keys_of_joses_are_taken_as_they_are():
    """A project's callable may keep them parsed."""
    key = jwk.construct(SECRET, "HS256")
    assert keys.construct(key, ["HS256"]) is key


def test_a_pem_is_parsed_once():
    """It costs more than checking a signature."""
    _, public = rsa_pair()
    assert keys.construct(public, ["RS256"]) is keys.construct(public, ["RS256"])
