"""Fixtures: two server processes with short leases, users who are online by their records."""

import pytest
import redis as redis_py
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Connect, Register, Token
from tests.kit import Daphne, until
from tests.presence.support import QUICK, keys, two


@pytest.fixture(scope="package")  # other suites want to be alone with their processes
def _pair(django_db_setup):
    with two(QUICK) as servers:
        yield servers


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
def online(redis):
    """Make users online as a process that never ends would: ``online(1, 2)``."""

    def connect(*pks):
        get_store().ask(Register("test", 60_000))
        for pk in pks:
            get_store().ask(Connect("test", f"c{pk}", str(pk), 50, Token(age_us=0)))
        presence.statuses([1])  # which hears of the new process

    return connect


@pytest.fixture
def users(make_user, online):
    """Six users; those with an even number are online."""
    users = [make_user(f"user{n}") for n in range(6)]
    online(*(user.pk for user in users[::2]))
    return users


@pytest.fixture
def loaded(redis):
    """Let Redis know the scripts: the first call of each costs a second round trip."""
    presence.statuses([1])
    presence.online([1])
    presence.online_users()
    presence.online_count()
