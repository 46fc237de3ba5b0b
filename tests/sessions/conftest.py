"""Servers that several tests share, and a Redis that they keep between tests."""

import contextlib
import os
from pathlib import Path

import pytest
import redis as redis_py
from django.conf import settings

from tests.kit import Daphne


def pytest_collection_modifyitems(items):
    """Empty the tables after each test of this package without making permissions anew."""
    here = Path(__file__).parent
    apps = list(settings.INSTALLED_APPS)
    for item in items:
        if here in item.path.parents and "transactional_db" in item.fixturenames:
            item.add_marker(pytest.mark.django_db(transaction=True, available_apps=apps))


@pytest.fixture(scope="package")
def empty_redis():
    """Empty Redis once: a server that several tests share would take it for a loss."""
    client = redis_py.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(autouse=True)
def clean_redis(empty_redis):
    """Keep what Redis holds; users' primary keys are never used twice."""
    return empty_redis


@contextlib.contextmanager
def running(kind=Daphne, /, **settings):
    """Run a server; in the end its log must have no traceback."""
    with kind(settings) as server:
        yield server
    assert server.tracebacks == 0, server.log


@pytest.fixture(scope="package")
def server(django_db_setup, empty_redis):
    """A daphne with the default settings, for tests that don't disturb each other."""
    with running() as daphne:
        yield daphne


@pytest.fixture(scope="module")
def servers(django_db_setup, empty_redis):
    """Start servers that live as long as the module: ``servers(BAZIS_WS_AUTH_TIMEOUT=1)``, or
    ``servers(Uvicorn)``; by default daphnes.
    """
    with contextlib.ExitStack() as stack:
        yield lambda *kind, **settings: stack.enter_context(running(*kind, **settings))
