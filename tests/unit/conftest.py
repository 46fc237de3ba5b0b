"""Fixtures of the unit tests: no server, no Redis, no database; a clock to move."""

import pytest
from channels.layers import channel_layers

from tests.unit.peers import Clock, FakeRedis

#: One layer in the process, and so presence in the process.
IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(autouse=True)
def clean_redis():
    """Take the place of the fixture that empties Redis: there is none."""


@pytest.fixture(autouse=True)
def in_process(settings):
    """Keep groups and presence in the process, new for each test."""
    settings.CHANNEL_LAYERS = IN_MEMORY
    settings.BAZIS_WS_REDIS_URL = None
    channel_layers.backends.clear()
    yield
    channel_layers.backends.clear()


@pytest.fixture
def clock():
    """A clock that stands until it is moved."""
    return Clock()


@pytest.fixture
def make_user(django_user_model):
    """Make users that are in no database: ``make_user(7)``."""

    def make(pk=1, **fields):
        user = django_user_model(pk=pk, username=f"user{pk}", **fields)
        user._state.db, user._state.adding = "default", False
        return user

    return make


@pytest.fixture
def fake_redis():
    """A peer that speaks RESP, scripted by the test."""
    with FakeRedis() as server:
        yield server
