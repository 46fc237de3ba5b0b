"""A table of attacks, each tried on a real server over a real socket."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidMessage, InvalidStatus

from tests.kit import Client
from tests.sessions.forging import b64, claims, forge, rsa_pair, sign

ALG = {"alg": "HS256", "typ": "JWT"}
WRONG = "not-the-secret-0123456789-abcdefghij"
NESTED = "[" * 2000 + "]" * 2000


def unsigned(header, payload, signature=""):
    """Return a token whose signature is what it is."""
    return f"{b64(json.dumps(header))}.{b64(json.dumps(payload))}.{signature}"


def payload_with(field):
    """Return the JSON of good claims with one field written by hand."""
    good = json.dumps(claims(exp=...))[:-1]
    return f"{good}, {field}}}"


def tampered():
    """Return a good token with another user in it."""
    header, _, signature = sign("mallory").split(".")
    return f"{header}.{b64(json.dumps(claims('alice')))}.{signature}"


def without_padding_bits():
    """Return a good token whose signature is cut short."""
    return sign("alice")[:-5]


#: name -> (makes the token, the error code that it gets)
ATTACKS = {
    "alg none": (lambda: unsigned({"alg": "none"}, claims()), "invalid_token"),
    "alg None": (lambda: unsigned({"alg": "None"}, claims()), "invalid_token"),
    "alg none, signed": (lambda: forge({"alg": "none"}, claims()), "invalid_token"),
    "no alg": (lambda: forge({"typ": "JWT"}, claims()), "invalid_token"),
    "alg null": (lambda: forge({"alg": None}, claims()), "invalid_token"),
    "alg list": (lambda: forge({"alg": ["HS256"]}, claims()), "invalid_token"),
    "alg HS512": (lambda: sign(algorithm="HS512"), "invalid_token"),
    "alg RS256": (lambda: sign(key=rsa_pair()[0], algorithm="RS256"), "invalid_token"),
    "wrong secret": (lambda: sign(key=WRONG), "invalid_token"),
    "empty secret": (lambda: sign(key="x").rsplit(".", 1)[0] + ".", "invalid_token"),
    "tampered payload": (tampered, "invalid_token"),
    "cut signature": (without_padding_bits, "invalid_token"),
    "exp missing": (lambda: sign(exp=...), "invalid_token"),
    "exp null": (lambda: forge(ALG, claims(exp=None)), "invalid_token"),
    "exp negative": (lambda: forge(ALG, claims(exp=-5)), "expired_token"),
    "exp zero": (lambda: forge(ALG, claims(exp=0)), "expired_token"),
    "exp past": (lambda: sign(exp=int(time.time()) - 60), "expired_token"),
    "exp huge": (lambda: forge(ALG, claims(exp=10**20)), "invalid_token"),
    "exp astronomic": (lambda: forge(ALG, payload_with(f'"exp": 1{"0" * 4000}')), "invalid_token"),
    "exp 5,000 digits": (lambda: forge(ALG, payload_with(f'"exp": {"9" * 5000}')), "invalid_token"),
    "exp float": (lambda: forge(ALG, claims(exp=time.time() + 60.5)), "invalid_token"),
    "exp 1e30": (lambda: forge(ALG, payload_with('"exp": 1e30')), "invalid_token"),
    "exp NaN": (lambda: forge(ALG, payload_with('"exp": NaN')), "invalid_token"),
    "exp Infinity": (lambda: forge(ALG, payload_with('"exp": Infinity')), "invalid_token"),
    "exp string": (lambda: forge(ALG, claims(exp=str(2**40))), "invalid_token"),
    "exp true": (lambda: forge(ALG, claims(exp=True)), "expired_token"),
    "exp list": (lambda: forge(ALG, claims(exp=[2**40])), "invalid_token"),
    "nbf future": (lambda: sign(nbf=int(time.time()) + 3600), "invalid_token"),
    "nbf string": (lambda: forge(ALG, claims(nbf="later")), "invalid_token"),
    "iat string": (lambda: forge(ALG, claims(iat="now")), "invalid_token"),
    "jti number": (lambda: forge(ALG, claims(jti=5)), "invalid_token"),
    "no sub": (lambda: sign(...), "invalid_token"),
    "sub null": (lambda: forge(ALG, claims(None)), "invalid_token"),
    "sub number": (lambda: forge(ALG, claims(1)), "invalid_token"),
    "sub float": (lambda: forge(ALG, claims(1.5)), "invalid_token"),
    "sub true": (lambda: forge(ALG, claims(True)), "invalid_token"),
    "sub list": (lambda: forge(ALG, claims(["alice"])), "invalid_token"),
    "sub object": (lambda: forge(ALG, claims({"username": "alice"})), "invalid_token"),
    "sub empty": (lambda: forge(ALG, claims("")), "invalid_token"),
    "sub nobody": (lambda: sign("nobody"), "user_not_found"),
    "sub with a null": (lambda: forge(ALG, claims("alice\x00")), "user_not_found"),
    "sub lone surrogate": (lambda: forge(ALG, claims("\ud800")), "user_not_found"),
    "sub long": (lambda: forge(ALG, claims("a" * 4000)), "user_not_found"),
    "aud unasked": (lambda: sign(aud="another service"), "invalid_token"),
    "payload array": (lambda: forge(ALG, [1, 2]), "invalid_token"),
    "payload null": (lambda: forge(ALG, "null"), "invalid_token"),
    "payload no JSON": (lambda: forge(ALG, "{exp:1}"), "invalid_token"),
    "header array": (lambda: forge([ALG], claims()), "invalid_token"),
    "header null": (lambda: forge("null", claims()), "invalid_token"),
    "nested header": (lambda: forge(NESTED, claims()), "invalid_token"),
    "nested header field": (
        lambda: forge(f'{{"alg": "HS256", "x": {NESTED}}}', claims(), WRONG),
        "invalid_token",
    ),
    "nested payload": (lambda: forge(ALG, payload_with(f'"x": {NESTED}'), WRONG), "invalid_token"),
    "refresh token": (lambda: sign(token_type="refresh"), "invalid_token"),
    "another key's kid": (lambda: sign(key=WRONG, headers={"kid": "other"}), "invalid_token"),
    "kid a list": (lambda: forge({**ALG, "kid": ["a"]}, claims()), "invalid_token"),
    "jku": (
        lambda: sign(key=WRONG, headers={"jku": "http://127.0.0.1:9/keys.json"}),
        "invalid_token",
    ),
    "jwk in the header": (
        lambda: sign(key=WRONG, headers={"jwk": {"kty": "oct", "k": b64(WRONG)}}),
        "invalid_token",
    ),
    "three dots": (lambda: "...", "invalid_token"),
    "two dots": (lambda: "..", "invalid_token"),
    "one dot": (lambda: "a.b", "invalid_token"),
    "four parts": (lambda: sign("alice") + ".x", "invalid_token"),
    "a channel": (lambda: "user_ws.1", "invalid_token"),
    "a bazis-ws channel": (lambda: "user_ws::1", "invalid_token"),
    "a presence key": (lambda: "user_ws.1.session", "invalid_token"),
    "the common group": (lambda: "common", "invalid_token"),
    "a null": (lambda: "a.\x00.c", "invalid_token"),
    "no base64": (lambda: "%%%.***.???", "invalid_token"),
    "standard base64": (
        lambda: base64.b64encode(b'{"alg":"HS256"}').decode() + ".e30=.AA==",
        "invalid_token",
    ),
    "beyond ASCII": (lambda: "é.ß.😀", "invalid_token"),
    "9,000 bytes": (lambda: sign(padding="x" * 9000), "invalid_token"),
}


async def stays_out(client, user):
    """Assert that a socket has no session and is still served."""
    await client.send({"type": "watch", "users": [user.pk]})
    assert (await client.receive())["code"] == "not_authenticated"
    assert await client.settle() == []


@pytest.mark.parametrize("name", ATTACKS)
async def test_attack(server, alice, name):
    """In the URL and as a message, the token opens nothing and gets the contract's answer."""
    forged, code = ATTACKS[name]
    token = forged()
    before = server.tracebacks
    url = f"{server.ws}?token={quote(token.encode(errors='surrogatepass'))}"
    async with Client(url) as client:
        answer = await client.receive()
        assert (answer["type"], answer["code"]) == ("error", code)
        await stays_out(client, alice)
        await client.send({"token": token})
        assert (await client.receive())["code"] == code
        await stays_out(client, alice)
    assert server.tracebacks == before
    assert "internal_error" not in str(client.seen)


async def test_escaped_lone_surrogate(server, alice):
    """A token that no UTF-8 can hold, which JSON escapes can, is refused like any other."""
    async with Client(server.ws) as client:
        await client.send('{"token": "\\ud800.\\ud800.\\ud800"}')
        assert (await client.receive())["code"] == "invalid_token"
        await stays_out(client, alice)


async def test_token_of_1_mb_as_a_message(server):
    """A token of 1 MB is a frame over the limit."""
    async with Client(server.ws) as client:
        await client.send({"token": sign("alice", padding="x" * 740_000)})
        assert (await client.receive())["code"] == "message_too_big"
        assert await client.closed() == 4413


async def test_token_of_60_kb_as_a_message(server, alice):
    """A token within the frame limit and over the token limit is refused unread."""
    async with Client(server.ws) as client:
        await client.send({"token": sign("alice", padding="x" * 45_000)})
        assert (await client.receive())["code"] == "invalid_token"
        await stays_out(client, alice)


@pytest.mark.parametrize("place", ["query", "header", "subprotocol"])
async def test_token_of_1_mb_in_the_handshake(server, place):
    """The HTTP server refuses a handshake of 1 MB before the package sees it."""
    token, before = "a" * 1_000_000, server.tracebacks
    options = {
        "query": {"token": token},
        "header": {"additional_headers": {"Authorization": f"Bearer {token}"}},
        "subprotocol": {"subprotocols": ["bazis-ws", token]},
    }[place]
    with pytest.raises((InvalidStatus, InvalidMessage, ConnectionError)):
        await Client(server.ws, **options).__aenter__()
    assert server.tracebacks == before


async def test_all_four_places_with_different_users(server, make_session, alice, bob, carol):
    """Tokens of different users in the handshake beside a Django session open nothing."""
    headers = {"Authorization": f"Bearer {bob.ws_token()}", **make_session}
    subprotocols = ["bazis-ws", carol.ws_token()]
    async with Client(
        server.ws, alice.ws_token(), additional_headers=headers, subprotocols=subprotocols
    ) as client:
        assert (await client.receive())["code"] == "invalid_token"
        await stays_out(client, alice)


@pytest.fixture
def carol(make_user):
    """A third user."""
    return make_user("carol")


@pytest.fixture
def make_session(make_user, client):
    """The headers of a fourth user's Django session."""
    client.force_login(make_user("dave"))
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


@pytest.fixture(scope="module")
def rsa_server(servers):
    """A server that verifies RS256 with two public keys."""
    keys = {"first": rsa_pair("first")[1], "second": rsa_pair("second")[1]}
    return servers(BAZIS_JWT_SESSION_ALG="RS256", BAZIS_WS_JWT_KEY=keys)


def confused():
    """Return a token signed by HMAC with the public key as the secret."""
    return forge({"alg": "HS256", "kid": "first"}, claims(), rsa_pair("first")[1])


def confused_rs256():
    """The same, with the algorithm that the server expects."""
    return forge({"alg": "RS256", "kid": "first"}, claims(), rsa_pair("first")[1])


def by_rsa(key="first", kid="first", **options):
    """Return a token signed by RSA."""
    return sign(key=rsa_pair(key)[0], algorithm="RS256", headers={"kid": kid}, **options)


@pytest.mark.parametrize(
    ("forged", "code"),
    [
        (confused, "invalid_token"),
        (confused_rs256, "invalid_token"),
        (lambda: by_rsa(kid="second"), "invalid_token"),
        (lambda: by_rsa(kid="third"), "invalid_token"),
        (lambda: by_rsa(kid=None), "invalid_token"),
        (lambda: by_rsa(key="other"), "invalid_token"),
        (lambda: by_rsa(exp=1), "expired_token"),
        (lambda: unsigned({"alg": "RS256", "kid": "first"}, claims()), "invalid_token"),
        (lambda: sign(headers={"kid": "first"}), "invalid_token"),
    ],
)
async def test_attack_on_public_keys(rsa_server, alice, forged, code):
    """Confusing algorithms or keys opens nothing; an honest token does."""
    async with Client(rsa_server.ws, forged()) as client:
        assert (await client.receive())["code"] == code
        await stays_out(client, alice)
        await client.send({"token": by_rsa()})
        assert (await client.subscribed())["user"] == alice.pk
