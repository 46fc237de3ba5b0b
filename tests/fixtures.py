"""Fixtures: a clean Redis, users, server processes, an identity provider."""

import os

import pytest
import redis as redis_py

from tests.kit import Clock, Daphne, Redis
from tests.sessions.provider import Provider


@pytest.fixture(autouse=True)
def clean_redis():
    """Start every test with an empty Redis; yields a client."""
    client = redis_py.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def redis(clean_redis):
    """A sync client of the tests' Redis."""
    return clean_redis


@pytest.fixture
def own_redis():
    """Start servers that the test may break: ``own_redis(maxmemory="2mb")``."""
    started = []

    def start(**config):
        started.append(Redis(**config))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def valkey(own_redis):
    """A server of the test's own."""
    return own_redis()


@pytest.fixture
def clock():
    """A clock that stands until it is moved."""
    return Clock()


@pytest.fixture
def unhurried(settings):
    """For tests that are about no time limit: the servers may have the processor first."""
    settings.BAZIS_WS_PUBLISH_TIMEOUT = settings.BAZIS_WS_REDIS_TIMEOUT = 60


@pytest.fixture
def make_user(transactional_db, django_user_model):
    """Make users: ``make_user("alice", **fields)``."""

    def make(name, **fields):
        return django_user_model.objects.create_user(
            name, email=f"{name}@example.com", password="demo", **fields
        )

    return make


@pytest.fixture
def alice(make_user):
    """A user."""
    return make_user("alice")


@pytest.fixture
def bob(make_user):
    """Another user."""
    return make_user("bob")


@pytest.fixture
def daphne(transactional_db):
    """Start daphne processes: ``daphne(BAZIS_WS_LEASE_SECONDS=1)``; all end with the test."""
    servers = []

    def start(server_class=Daphne, **settings):
        server = server_class(settings)
        servers.append(server)
        server.wait_until_ready()
        return server

    yield start
    for server in servers:
        server.stop()
        print(f"--- {server!r}\n{server.log}")  # if it fails


@pytest.fixture
def provider():
    """An identity provider with one key."""
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def remote_keys(provider, clock, settings):
    """Keys of that provider as the setting for tokens, by a clock that the test moves."""
    from bazis_ws_channels.auth.jwks import RemoteKeys  # needs Django's settings

    keys = RemoteKeys(provider.url, 300, clock)
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = "RS256", keys
    return keys
