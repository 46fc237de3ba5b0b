"""Two server processes with short leases, shared by the tests that break neither."""

import pytest
import redis as redis_py
from asgiref.sync import sync_to_async

from tests.kit import Daphne, Redis, until
from tests.presence.support import QUICK, keys


@pytest.fixture(scope="session")
def _pair(django_db_setup):
    servers = [Daphne(QUICK), Daphne(QUICK)]
    for server in servers:
        server.wait_until_ready()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
async def pair(_pair, transactional_db, redis: redis_py.Redis):
    """Two running processes; at the end they must have left nothing behind."""
    yield _pair
    try:
        await until(lambda: not keys(redis))
    except TimeoutError:
        raise AssertionError(f"left behind: {keys(redis)}") from None
    for server in _pair:
        print(f"--- {server!r}\n{server.log[-5000:]}")  # if it fails


@pytest.fixture
def start(daphne):
    """Start a process of one's own, with a short lease: ``await start(**settings)``."""

    async def start(server_class=Daphne, **settings):
        launch = sync_to_async(daphne, thread_sensitive=False)  # several at the same time
        return await launch(server_class, **{**QUICK, **settings})

    return start


@pytest.fixture
def make_users(make_user):
    """Make users: ``await make_users(3)``."""

    async def make(number, **fields):
        return await sync_to_async(
            lambda: [make_user(f"user{n}", **fields) for n in range(number)]
        )()

    return make


@pytest.fixture
def own_redis():
    """A Redis that the test may stop: ``own_redis(**config)``."""
    started = []

    def start(**config):
        started.append(Redis(**config))
        return started[-1]

    yield start
    for server in started:
        server.close()
