"""Several processes on one Redis, and all that can happen to them: nobody is told less than the
truth. Seeded; for longer: ``FLEET_SEEDS=3,4,5 FLEET_SECONDS=30``. ``FLEET_SERVER=uvicorn``: instead
of daphne.
"""

import asyncio
import os
from random import Random

import pytest
from channels.layers import channel_layers as backends
from channels.layers import get_channel_layer
from django.conf import settings as django_settings

from tests.fleet.journal import COMMON, kept_of, stream_of
from tests.fleet.publisher import Publisher
from tests.fleet.sentinel import SentinelStore
from tests.fleet.servers import Fleet
from tests.fleet.store import Store
from tests.fleet.storm import Storm
from tests.fleet.visitors import Person, Visitor
from tests.kit import Daphne, Uvicorn
from tests.presence.support import QUICK

SEEDS = [int(each) for each in os.environ.get("FLEET_SEEDS", "1").split(",")]
SECONDS = float(os.environ.get("FLEET_SECONDS", "1"))
SERVER = {"daphne": Daphne, "uvicorn": Uvicorn}[os.environ.get("FLEET_SERVER", "daphne")]
PROCESSES, VISITORS, USERS, PUBLISHERS = 3, 24, 12, 2

#: For all processes: nothing is lost because too little is kept.
ENOUGH = {"BAZIS_WS_HISTORY_MESSAGES": 1_000_000, "BAZIS_WS_HISTORY_BYTES": 10**9}
#: Publishers give up at once, and servers soon.
HASTY = {"BAZIS_WS_PUBLISH_TIMEOUT": 0.5, "BAZIS_WS_REDIS_TIMEOUT": 1}


@pytest.fixture(scope="module")
def store():
    """The Redis that tests share."""
    with Store() as store:
        yield store


@pytest.fixture(scope="module")
def fleet(store, django_db_setup):
    """The server processes that tests share."""
    with fleet_on(store) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def sentinel_store():
    """A Redis with Sentinel."""
    with SentinelStore() as store:
        yield store


@pytest.fixture(scope="module")
def sentinel_fleet(sentinel_store, django_db_setup):
    """The server processes on it."""
    with fleet_on(sentinel_store) as fleet:
        yield fleet


def fleet_on(store):
    """Return server processes on a Redis."""
    apps = [*django_settings.INSTALLED_APPS, "tests.fleet"]
    settings = {"CHANNEL_LAYERS": store.channel_layers, "INSTALLED_APPS": apps}
    return Fleet(SERVER, {**settings, **HASTY, **QUICK, **ENOUGH}, PROCESSES)


@pytest.fixture
def people(make_user):
    """The users."""
    users = [make_user(f"user{n}") for n in range(USERS)]
    return [Person(user.pk, user.ws_token(24 * 3600)) for user in users]


@pytest.fixture
async def storm(people, redis, unhurried, settings):
    """Make one: ``await storm(fleet, store, seed, troubles)``; it returns what happened."""
    publishers = []

    async def rage(fleet, store, seed, troubles, *, is_whole=False):
        settings.CHANNEL_LAYERS = store.channel_layers
        for name, value in ENOUGH.items():
            setattr(settings, name, value)
        layer, pks = get_channel_layer(), [person.pk for person in people]
        await store.rest()
        await asyncio.to_thread(store.client.flushall)
        store.losses.clear()
        await kept_of(layer, [COMMON, *map(stream_of, pks)])  # from here on all is recorded
        options = {"CHANNEL_LAYERS": store.channel_layers, **HASTY, **ENOUGH}
        publishers.extend(Publisher(options, f"publisher{n}", seed, pks) for n in range(PUBLISHERS))
        for publisher in publishers:
            await asyncio.to_thread(publisher.wait_until_ready)
        visitors = [Visitor(fleet, people, Random(f"{seed}.{n}")) for n in range(VISITORS)]
        storm = Storm(fleet, store, visitors, publishers, redis, layer, is_whole=is_whole)
        try:
            await storm.rage(troubles, SECONDS, Random(seed))
            await storm.settle(people)
        finally:
            await storm.end()
            print(fleet.log[-50_000:])
        print(seed, storm.history, storm.figures(), *storm.judge(), sep="\n")
        return storm

    backends.backends.clear()
    yield rage
    await get_channel_layer().flush()
    backends.backends.clear()
    for publisher in publishers:
        publisher.stop()


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost(storm, fleet, store, seed):
    """Processes die, connections and Redis too, and the replica takes over as planned: each gets
    all, in order and once, and nobody is told of a gap; who is online is told once and in turns.
    """
    troubles = [
        fleet.kill, fleet.end, fleet.freeze,
        store.cut_subscriptions, store.cut_commands, store.cut_all, store.make_wait, store.hang,
        store.restart, store.hand_over,
    ]  # fmt: skip
    assert (await storm(fleet, store, seed, troubles, is_whole=True)).faults == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_redis_forgets(storm, fleet, store, seed):
    """Whoever misses something is told. Processes don't end meanwhile, for then nobody would know
    who was there.
    """
    troubles = [store.forget, store.cut_subscriptions, store.cut_commands]
    assert (await storm(fleet, store, seed, troubles)).faults == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_replica_without_the_newest_data(storm, fleet, store, seed):
    """It takes over again and again."""
    troubles = [store.go_back, store.cut_subscriptions, fleet.end]
    assert (await storm(fleet, store, seed, troubles)).faults == []


@pytest.mark.skipif(SECONDS < 10, reason="Sentinel takes seconds: FLEET_SECONDS=10 or more")
@pytest.mark.parametrize("seed", SEEDS)
async def test_sentinel(storm, sentinel_fleet, sentinel_store, seed):
    """The primary dies."""
    store = sentinel_store
    troubles = [store.kill, store.cut_subscriptions, sentinel_fleet.end]
    assert (await storm(sentinel_fleet, store, seed, troubles)).faults == []
