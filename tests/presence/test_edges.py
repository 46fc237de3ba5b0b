"""Changes of the online status are told exactly once, whatever the connections do."""

import json
from contextlib import AsyncExitStack
from datetime import datetime

import pytest

from bazis_ws_channels.times import datetime_of
from tests.kit import Client, until
from tests.presence.listener import DETAILS
from tests.presence.support import QUICK, is_online, keys, open_all, told, two

#: Settings for tests in which something must happen within the grace.
PATIENT = {**QUICK, "BAZIS_WS_OFFLINE_GRACE_SECONDS": 3}


@pytest.fixture(scope="module")
def _patient(django_db_setup):
    with two(PATIENT) as servers:
        yield servers


@pytest.fixture
async def patient(_patient, transactional_db, redis):
    """Two processes whose grace is long enough for a busy machine."""
    yield _patient
    await until(lambda: not keys(redis))


async def test_two_tabs_in_two_processes(patient, alice, redis):
    """One closed: online without a gap. Both closed: offline at once, told once."""
    first, second = patient
    async with AsyncExitStack() as stack:
        tab, other = await open_all(stack, [(first, alice), (second, alice)])
        await tab.socket.close()
        await until(lambda: redis.hlen(alice.ws_session) == 1)
        assert await is_online(alice)
        await other.socket.close()
        await until(lambda: not redis.exists(alice.ws_session))
        assert not await is_online(alice)
        assert told(redis, alice) == [f"online:{alice.pk}"]  # the grace is running
        await until(lambda: not keys(redis))
    assert told(redis) == [f"online:{alice.pk}", f"offline:{alice.pk}"]


async def test_a_reload_makes_no_noise(patient, alice, bob, redis):
    """Back within the grace, on the same process or another: no event for anybody."""
    first, second = patient
    async with Client(second.ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        assert await watcher.watch(alice) == [False]
        for server in (first, first, second, first):
            async with Client(server.ws, alice.ws_token()) as tab:
                await tab.subscribed()
        assert (await watcher.receive_type("presence"))["is_online"]
        assert not (await watcher.receive_type("presence"))["is_online"]
        assert await watcher.settle() == []
    await until(lambda: told(redis, alice) == [f"online:{alice.pk}", f"offline:{alice.pk}"])


async def test_many_tabs_opened_and_closed_at_once(pair, alice, redis):
    """A crowd of connections in both processes makes one edge each way."""
    async with AsyncExitStack() as stack:
        clients = await open_all(stack, [(pair[n % 2], alice) for n in range(20)])
        assert redis.hlen(alice.ws_session) == 20
        for client in clients:
            client.socket.transport.abort()
        await until(lambda: not keys(redis))
    assert told(redis) == [f"online:{alice.pk}", f"offline:{alice.pk}"]


async def test_last_seen_is_the_end_of_the_last_connection(pair, alice, bob, redis):
    """Not the moment at which the grace was over; those who watch read the same."""
    async with Client(pair[0].ws, bob.ws_token()) as watcher:
        await watcher.subscribed()
        assert await watcher.watch(alice) == [False]
        async with Client(pair[1].ws, alice.ws_token()) as tab:
            await tab.subscribed()
        while (seen := await watcher.receive_type("presence"))["is_online"] or not seen[
            "last_seen"
        ]:
            pass
    at = redis.zscore("user_ws.last_seen", str(alice.pk))
    assert seen["last_seen"] == datetime_of(int(at)).isoformat()


async def test_deploying_one_of_two_processes_makes_no_noise(patient, start, alice, bob, redis):
    """Clients that move to the other process within the grace are never told offline."""
    old = await start(**PATIENT)
    async with AsyncExitStack() as stack:
        (watcher,) = await open_all(stack, [(patient[0], bob)])
        assert await watcher.watch(alice) == [False]
        moving, _ = await open_all(stack, [(old, alice), (old, alice)])
        old.terminate()
        assert await moving.closed() == 4503
        await open_all(stack, [(patient[1], alice)])
        # Long enough for the grace and for a burial: another user comes and goes in it.
        async with Client(patient[0].ws, bob.ws_token()):
            pass
        await until(lambda: redis.scard("user_ws.processes") == 2)
        await until(lambda: not redis.exists("user_ws.leaving"))
        frames = [*watcher.seen, *await watcher.settle()]
        assert [each["is_online"] for each in frames if each["type"] == "presence"] == [False, True]
        assert told(redis, alice) == [f"online:{alice.pk}"]


async def test_receivers_get_user_and_time_and_may_fail(start, alice, bob, redis, settings):
    """Sync and async ones get the user and an aware time; what they raise stops nothing."""
    apps = [*settings.INSTALLED_APPS, "tests.presence.listener.ListenerConfig"]
    server = await start(INSTALLED_APPS=apps)
    for user in (alice, bob):
        async with Client(server.ws, user.ws_token()) as client:
            await client.subscribed()
    await until(lambda: not keys(redis) - {DETAILS})
    described = [json.loads(each) for each in redis.lrange(DETAILS, 0, -1)]
    users = [each[:3] for each in described]
    expected = [["User", alice.pk, "alice"], ["User", bob.pk, "bob"]]
    assert sorted(users) == sorted(expected * 2)
    times = [datetime.fromisoformat(each[3]) for each in described]
    assert times == sorted(times)
    assert all(at.tzinfo for at in times)
    assert len(told(redis)) == 4
    await until(lambda: "RuntimeError: a bug in a receiver" in server.log)
