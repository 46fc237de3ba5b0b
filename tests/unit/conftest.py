"""Fixtures of the unit tests: no server, no Redis, no database; a clock to move."""

import pytest
from channels.layers import channel_layers
from django.contrib.auth import get_user_model
from django.db import transaction

from bazis_ws_channels.auth.unwritten import unwritten
from bazis_ws_channels.presence.stores import forget_store
from tests.unit.peers import FakeRedis

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
    unwritten.__init__()


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


@pytest.fixture
def people(monkeypatch, make_user):
    """User 1 and the inactive user 2, without a database; others raise what a database does."""
    known = {"user1": make_user(1), "user2": make_user(2, is_active=False)}
    manager = get_user_model()._default_manager

    def get(**lookup):
        [(field, value)] = lookup.items()
        if isinstance(value, Exception):
            raise value
        for user in known.values():
            if str(getattr(user, field)) == str(value):
                return user
        raise get_user_model().DoesNotExist

    monkeypatch.setattr(manager, "get", get, raising=False)
    forget_store()
    yield known
    forget_store()


@pytest.fixture
def commits(monkeypatch):
    """Let transactions commit when the test says so: ``commits()``; a list of what waits."""

    class Commits(list):
        def __call__(self):
            callbacks, self[:] = [callback for callback, _ in self], []
            for callback in callbacks:
                callback()

    commits = Commits()
    monkeypatch.setattr(transaction, "on_commit", lambda f, using=None: commits.append((f, using)))
    return commits
