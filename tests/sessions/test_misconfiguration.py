"""Settings that can't work: one logged error, and `internal_error` for the client."""

import pytest

from tests.kit import Client, Daphne, until
from tests.sessions.forging import ec_pair, rsa_pair, sign

MISCONFIGURED = {
    "wrong key file": (
        {"BAZIS_JWT_SESSION_ALG": "RS256", "BAZIS_WS_JWT_KEY": "/etc/keys/public.pem"},
        lambda: sign(key=rsa_pair()[0], algorithm="RS256"),
    ),
    "key of another kind": (
        {"BAZIS_JWT_SESSION_ALG": "RS256", "BAZIS_WS_JWT_KEY": ec_pair()[1]},
        lambda: sign(key=rsa_pair()[0], algorithm="RS256"),
    ),
    "public key as a secret": (
        {"BAZIS_JWT_SESSION_ALG": "HS256", "BAZIS_WS_JWT_KEY": rsa_pair()[1]},
        sign,
    ),
    "callable that raises": (
        {"BAZIS_WS_JWT_KEY": "tests.sessions.callables.broken"},
        sign,
    ),
    "callable that isn't there": (
        {"BAZIS_WS_JWT_KEY": "tests.sessions.callables.nothing"},
        sign,
    ),
}


@pytest.fixture(scope="module", params=MISCONFIGURED)
def misconfigured(request, django_db_setup, empty_redis):
    """A server whose settings can't verify a token, and a token."""
    settings, token = MISCONFIGURED[request.param]
    with Daphne(settings) as server:
        yield server, token()


def errors(server):
    """Return how many errors of ours the server has logged (daphne's root logger has each once)."""
    return server.log.count("ERROR    ")


@pytest.mark.parametrize("way", ["handshake", "message"])
async def test_misconfigured(misconfigured, alice, way):
    """The client gets `internal_error` and 4500, no hint at the key; the log has one error."""
    server, token = misconfigured
    before = errors(server)
    async with Client(server.ws, token if way == "handshake" else None) as client:
        if way == "message":
            await client.send({"token": token})
        answer = await client.receive()
        assert (answer["code"], answer["detail"]) == ("internal_error", "Internal server error")
        assert await client.closed() == 4500
        assert len(client.seen) == 1
    await until(lambda: errors(server) > before)
    assert errors(server) == before + 1
    assert server.tracebacks == 0
    assert token not in server.log
    assert "BEGIN PUBLIC KEY" not in server.log


async def test_other_connections_go_on(misconfigured):
    """A connection that brings no token is served."""
    server, token = misconfigured
    async with Client(server.ws) as bystander:
        async with Client(server.ws, token) as client:
            assert await client.closed() == 4500
        assert await bystander.settle() == []
