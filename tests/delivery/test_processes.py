"""Real Celery and gunicorn workers publish after the fork; so do management commands."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async

from tests.kit import CeleryWorker, Client, Gunicorn, fetch, manage

CALLS = 10_000


@pytest.fixture
def subscriber(valkey, daphne):
    """Return a server whose Redis is the test's own, so that its connections can be counted."""
    return daphne(CHANNEL_LAYERS=valkey.channel_layers)


async def counted(valkey, process, publish, client):
    """Publish `CALLS` numbers in eight rows; check what comes, and what is left behind."""
    await publish(0, 100)
    before = connections(valkey)
    row = CALLS // 8
    rows = [range(start, start + row) for start in range(100, CALLS, row)]
    reports = await asyncio.gather(*(publish(row.start, row.stop) for row in rows))
    received = [await client.data() for _ in range(100 + len(rows) * row)]
    assert sorted(received) == list(range(100 + len(rows) * row))
    for row in rows:
        assert [n for n in received if n in row] == list(row)
    for report in reports:
        assert report["pid"] != process.pid
        assert report["threads"].count("bazis_ws_channels") == 0
    return reports, connections(valkey) - before


def connections(valkey):
    return len(valkey.clients())


async def test_a_prefork_worker_publishes_ten_thousand_times(valkey, subscriber, daphne, alice):
    """After a fork of a parent that has published: each child has a connection of its own."""
    settings = {"CHANNEL_LAYERS": valkey.channel_layers}
    worker = await sync_to_async(daphne)(CeleryWorker, **settings)
    from tests.delivery.worker import publish_many

    async def publish(start, stop):
        result = await asyncio.to_thread(publish_many.delay, alice.pk, start, stop)
        return await asyncio.to_thread(result.get, timeout=120)

    async with Client(subscriber.ws, alice.ws_token()) as client:
        await client.subscribed()
        reports, more = await counted(valkey, worker, publish, client)
    assert {len(report["threads"]) for report in reports} == {1}
    # The second child starts during the test: a connection to count and to publish.
    assert more <= len({report["pid"] for report in reports})


async def test_a_gunicorn_worker_publishes_ten_thousand_times(valkey, subscriber, daphne, alice):
    """From four threads at once, after a fork of a master that has published."""
    settings = {"CHANNEL_LAYERS": valkey.channel_layers, "ROOT_URLCONF": "tests.delivery.wsgi"}
    gunicorn = await sync_to_async(daphne)(Gunicorn, **settings)

    async def publish(start, stop):
        url = f"{gunicorn.http}/publish-many/{alice.pk}/{start}/{stop}/"
        return json.loads(await asyncio.to_thread(fetch, url))

    async with Client(subscriber.ws, alice.ws_token()) as client:
        await client.subscribed()
        reports, more = await counted(valkey, gunicorn, publish, client)
    assert max(len(report["threads"]) for report in reports) <= 6  # gunicorn's four, and ours
    assert more <= 4  # each thread may count at the same time
    gunicorn.terminate()
    await asyncio.to_thread(gunicorn.wait)
    assert gunicorn.tracebacks == 0


async def test_the_commands(server, alice, bob):
    """From an administrator's shell, by username or primary key."""
    async with Client(server.ws, await asyncio.to_thread(token_of, "alice")) as client:
        await client.subscribed()
        printed = await asyncio.to_thread(manage, "ws_publish", "alice", '{"n": [1, null]}')
        assert printed == "Published to 1 connection(s) of alice.\n"
        assert await client.data() == {"n": [1, None]}
        printed = await asyncio.to_thread(manage, "ws_broadcast", '"everybody"')
        assert await client.data() == "everybody"
        printed = await asyncio.to_thread(manage, "ws_online")
        assert printed == f"{alice.pk}\talice\n1 online.\n"
        printed = await asyncio.to_thread(manage, "ws_disconnect", str(alice.pk))
        assert printed == "Ended 1 session(s) of alice.\n"
        assert await client.closed() == 4401


def token_of(name):
    return manage("ws_token", name).strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ws_publish", "nobody", "1"), "There is no user 'nobody'"),
        (("ws_publish", "alice", "{a: 1}"), "Not JSON"),
        (("ws_publish", "alice", '"\\ud800"'), "lone surrogate"),
        (("ws_broadcast", "NaN"), "is nan"),
    ],
)
def test_a_command_says_what_is_wrong(alice, arguments, message):
    """In one line, without a traceback."""
    printed = manage(*arguments, check=False)
    assert message in printed
    assert "Traceback" not in printed


def test_a_command_says_that_redis_is_down(alice, valkey):
    """And what the settings are that name it."""
    valkey.stop()
    layers = valkey.channel_layers
    printed = manage("ws_publish", "alice", "1", check=False, CHANNEL_LAYERS=layers)
    assert (
        "CommandError: The channel layer failed. Redis is out of reach: ConnectionError" in printed
    )
