"""A rolling restart by the script of docs/deployment.md, behind its nginx, from its unit.

Real tabs (client.js under Node) are there all the time, over TLS and without, and messages are
published. Nobody is away for long, nothing is lost or comes twice, nobody is told to be offline.
"""

import asyncio
import contextlib
import itertools
import statistics
import time

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.kit import nginx, until
from tests.operating import tabs
from tests.operating.deployment import NUMBERS, Systemd, django_settings, rolling_restart
from tests.presence.support import told
from tests.replay.dropping import Load

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not nginx.is_installed, reason="needs Debian's nginx"),
    pytest.mark.skipif(not tabs.is_installed, reason="needs Node"),
]

#: Seconds that anybody may be away: client.js waits up to one before it comes back.
LIMIT_SECONDS = 2
#: Over each of HTTP and HTTPS.
TABS = 100
PUBLISHES_PER_SECOND = 4


@pytest.fixture(params=[False, True], ids=["tcp", "unix"])
def site(request, tmp_path, transactional_db):
    """The page's processes and its nginx."""
    with Systemd(tmp_path, django_settings(), by_socket=request.param) as systemd:
        front = systemd.front()
        try:
            yield systemd, front
        finally:
            front.stop()
            print(front.log[-5000:])


def distribution(seconds):
    """Describe durations."""
    seconds = sorted(seconds)
    at = {name: seconds[int(len(seconds) * part)] for name, part in (("p90", 0.9), ("p99", 0.99))}
    figures = {"median": statistics.median(seconds), **at, "max": seconds[-1]}
    return f"{len(seconds)} times, " + ", ".join(f"{k} {v:.2f} s" for k, v in figures.items())


async def publish_until(stop, load):
    """Publish to each, and to all, in turns."""
    start = time.monotonic()
    for number in itertools.count():
        if stop.is_set():
            return
        await load.publish(to_all=number % 2 == 1)
        due = start + number / PUBLISHES_PER_SECOND
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(0, due - time.monotonic()))


async def mute(stack, systemd, number, user):
    """Connect a client to an instance that won't answer when that closes the connection."""
    token = await sync_to_async(user.ws_token)()
    client = await stack.enter_async_context(systemd.client(number, token))
    await client.subscribed()
    client.socket.transport.pause_reading()
    stack.callback(client.socket.transport.abort)


async def test_nobody_is_away_for_long(site, django_user_model, redis):
    """Four processes, one after another, under tabs and a publisher."""
    systemd, front = site
    names = [django_user_model(username=f"user{n}") for n in range(2 * TABS)]
    await django_user_model.objects.abulk_create(names)
    users = [user async for user in django_user_model.objects.order_by("pk")]
    await until(systemd.is_well)
    clients = [
        (front.ws if n < TABS else front.wss, user, await sync_to_async(user.ws_token)(),
         users[max(0, n - 2) : n + 3])
        for n, user in enumerate(users)
    ]  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        for number in NUMBERS:
            await mute(stack, systemd, number, users[-1])
        crowd = stack.enter_context(tabs.Tabs(clients, front.certificate))
        await until(lambda: crowd.are_live, 60)
        await until(lambda: len(told(redis)) == len(users))
        for tab in crowd.all:
            tab.presence.clear()
        load, stop = Load(users, PUBLISHES_PER_SECOND), asyncio.Event()
        publishing = asyncio.create_task(publish_until(stop, load))
        took = await rolling_restart(systemd)
        await until(lambda: crowd.are_live)
        stop.set()
        await publishing
        with contextlib.suppress(TimeoutError):
            await until(lambda: load.is_complete(crowd.all))
        online = await presence.aonline_count()
    report(crowd.all, took, systemd)
    assert load.faults(crowd.all) == []
    away = [seconds for tab in crowd.all for seconds in tab.away]
    assert len(away) >= len(users)  # each process had its share, and each was restarted
    assert max(away) < LIMIT_SECONDS
    assert {code for tab in crowd.all for code in tab.codes} == {4503}
    assert not [tab.errors for tab in crowd.all if tab.errors]
    assert not any(tab.missed for tab in crowd.all)
    assert {value for tab in crowd.all for value in tab.recovered} == {True}
    assert not [pair for tab in crowd.all for pair in tab.presence if not pair[1]]
    assert online == len(users)
    assert {edge.partition(":")[0] for edge in told(redis)} == {"online"}
    assert not sum(instance.tracebacks for instance in systemd.all)


def report(crowd, took, systemd):
    """Print what happened."""
    for name, some in (("HTTP", crowd[:TABS]), ("HTTPS", crowd[TABS:])):
        print(f"{name}: away {distribution([s for tab in some for s in tab.away])}")
        print(
            f"    of which signing in {distribution([s for tab in some for s in tab.signing_in])}"
        )
    times = [len(tab.away) for tab in crowd]
    print(f"away how often: { ({n: times.count(n) for n in sorted(set(times))}) }")
    print(f"replayed {sum(tab.replayed for tab in crowd)} messages, got"
          f" {sum(len(got) for tab in crowd for got in tab.got.values())}")  # fmt: skip
    print(f"the script took {took:.1f} s; stops {[round(each, 1) for each in systemd.stops]}")
