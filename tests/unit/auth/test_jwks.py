"""Keys from the URL of an identity provider, which a thread of the test is."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured

from bazis_ws_channels.auth import keys, tokens
from bazis_ws_channels.exceptions import JwksUnavailable, TokenError
from tests.kit import wait_until
from tests.sessions.forging import ec_pair, rsa_pair, sign
from tests.sessions.provider import jwk_of, token_by


def test_tokens_are_verified(provider, remote_keys):
    """Fetched at the first token, and not again."""
    assert provider.requests == 0
    for _ in range(3):
        assert tokens.verify(token_by("first")).user == "alice"
    assert provider.requests == 1


def test_a_forged_token_is_refused(provider, remote_keys):
    """Signed by somebody else under the provider's kid; or by the public key as a secret."""
    with pytest.raises(TokenError):
        tokens.verify(
            sign("alice", key=rsa_pair("evil")[0], algorithm="RS256", headers={"kid": "first"})
        )
    with pytest.raises(TokenError):
        tokens.verify(sign("alice", key="a" * 40, headers={"kid": "first"}))


def test_rotation(provider, remote_keys, clock):
    """A new kid is asked for at once, but only once a minute; old keys end with the lifespan."""
    tokens.verify(token_by("first"))
    provider.serve(jwk_of("second"), jwk_of("first"))
    assert tokens.verify(token_by("second"))
    assert provider.requests == 2
    for number in range(10):
        with pytest.raises(TokenError):
            tokens.verify(forged(number))
    assert provider.requests == 2
    clock.now += 61
    with pytest.raises(TokenError):
        tokens.verify(forged(1))
    assert provider.requests == 3
    provider.serve(jwk_of("second"))
    clock.now += 601  # the old ones are so old that nobody trusts them without having asked
    with pytest.raises(TokenError):
        tokens.verify(token_by("first"))


def forged(number):
    """Return a token of a made-up key."""
    return sign(
        "alice", key=rsa_pair("evil")[0], algorithm="RS256", headers={"kid": f"made-up-{number}"}
    )


def test_nobody_waits_for_keys_that_have_just_become_old(provider, remote_keys, clock, monkeypatch):
    """They serve while newer ones are fetched."""
    monkeypatch.setattr("bazis_ws_channels.auth.jwks._LIMIT_SECONDS", 30)
    tokens.verify(token_by("first"))
    clock.now += 301
    provider.hangs = True
    started = time.monotonic()
    for _ in range(5):
        tokens.verify(token_by("first"))
    assert time.monotonic() - started < 15  # on a busy machine
    wait_until(lambda: provider.requests == 2)
    provider.serve(jwk_of("second"))
    provider.release.set()
    wait_until(lambda: remote_keys("second") is not None)
    assert remote_keys("first") is None


def test_it_works_on_while_the_provider_is_down(provider, remote_keys, clock, caplog):
    """With the keys that it gave last; said once."""
    tokens.verify(token_by("first"))
    provider.status = 500
    for _ in range(5):
        clock.now += 700
        tokens.verify(token_by("first"))
    assert provider.requests == 6
    warnings = [record for record in caplog.records if "go on" in record.message]
    assert len(warnings) == 1
    provider.status = 200
    clock.now += 700
    tokens.verify(token_by("first"))
    assert "is there again" in caplog.text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"<!doctype html><title>Sign in</title>", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no list"),
        (b'{"keys": {}}', "no list"),
        (b'{"keys": []}', "no public key"),
        (b'{"keys": [1, null, {"kty": "oct", "k": "c2VjcmV0"}]}', "no public key"),
        (b'{"keys": [{"kty": "RSA", "use": "enc"}]}', "no public key"),
        (b"[" * 200_000, "JSON|recursion"),
        (b"{}" + b" " * 10_000_000, "over"),
    ],
)
def test_nonsense(provider, remote_keys, clock, body, problem):
    """HTML, 10 MB, no keys: our error before there are any, none afterwards."""
    good, provider.body = provider.body, body
    with pytest.raises(JwksUnavailable, match=problem):
        remote_keys("first")
    with pytest.raises(ImproperlyConfigured, match="BAZIS_WS_JWT_KEY failed"):
        tokens.verify(token_by("first"))
    assert provider.requests == 1  # not again at each token
    provider.body = good
    clock.now += 11
    assert tokens.verify(token_by("first"))
    provider.body = body
    clock.now += 1000
    assert tokens.verify(token_by("first"))


def test_redirects_are_not_followed(provider, remote_keys):
    """Where the provider is, is what was trusted."""
    provider.status, provider.headers = 302, {"Location": "http://127.0.0.1:1/jwks"}
    with pytest.raises(JwksUnavailable, match="302"):
        remote_keys("first")


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_provider_that_hangs(provider, remote_keys, monkeypatch, how):
    """Or sends a byte now and then: the first tokens wait for the limit, all of them together."""
    monkeypatch.setattr("bazis_ws_channels.auth.jwks._LIMIT_SECONDS", 0.2)
    setattr(provider, how, True)

    def ask(_):
        with pytest.raises(JwksUnavailable, match=r"no answer in time|timed out"):
            remote_keys("first")

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert time.monotonic() - started < 15  # on a busy machine; it hangs for 30
    assert provider.requests == 1


def test_one_key_needs_no_kid(provider, remote_keys):
    """Of several, a token without a kid names none."""
    unnamed = sign("alice", key=rsa_pair("first")[0], algorithm="RS256")
    assert tokens.verify(unnamed)
    provider.serve(jwk_of("first"), jwk_of("second"))
    remote_keys._ask(wait=True, at_once=True)
    with pytest.raises(TokenError):
        tokens.verify(unnamed)


def test_elliptic_curves(provider, remote_keys, settings):
    """ES256 beside RS256."""
    settings.BAZIS_JWT_SESSION_ALG = ["RS256", "ES256"]
    provider.serve(jwk_of("first"), jwk_of("curve", ec_pair, "ES256"))
    assert tokens.verify(token_by("first"))
    assert tokens.verify(
        sign("alice", key=ec_pair("curve")[0], algorithm="ES256", headers={"kid": "curve"})
    )


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "id.example.com/jwks", "ftp://a/b", "http:///x"]
)
def test_wrong_url(url):
    """Is said where it is written."""
    with pytest.raises(ValueError, match="expected an http"):
        keys.from_url(url)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_wrong_lifespan(seconds):
    """So is this."""
    with pytest.raises(ValueError, match="lifespan"):
        keys.from_url("https://id.example.com/jwks", seconds)
