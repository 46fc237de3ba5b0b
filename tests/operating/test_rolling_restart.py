"""Processes that end under load, behind the nginx of docs/deployment.md and from its unit.

Real tabs (client.js under Node) are there all the time, half of them over TLS, and messages are
published. Nobody is away for long, nothing is lost or comes twice, nobody is told to be offline.
"""

import asyncio
import contextlib
import itertools
import statistics
import time
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.kit import nginx, until
from tests.kit.processes import START_SECONDS
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
#: How long a client must be live between two kills, or it comes back later: its `stableMs`.
STABLE_SECONDS = 5
#: Over each of HTTP and HTTPS.
TABS = 100
PUBLISHES_PER_SECOND = 4


@pytest.fixture
def is_quiet():
    """Whether the processors have little to do, before anything is started."""

    def times():
        numbers = list(map(int, Path("/proc/stat").read_text().split()[1:9]))
        return sum(numbers), numbers[3] + numbers[4]

    before = times()
    time.sleep(1)  # what is looked at is this second
    spent, idle = (now - then for now, then in zip(times(), before, strict=True))
    return idle > 0.7 * spent


@pytest.fixture(params=["tcp", "unix"])
def site(request, tmp_path, transactional_db):
    """The page's processes and its nginx."""
    by_socket = request.param == "unix"
    with Systemd(tmp_path, django_settings(), by_socket=by_socket) as systemd:
        front = systemd.front()
        try:
            yield systemd, front
        finally:
            front.stop()
            print(front.log[-5000:])


@contextlib.asynccontextmanager
async def under_load(site, users, redis):
    """Run tabs, one for each user, and publish to them until the block has ended and all of it
    has arrived; yields the tabs and what is published.
    """
    systemd, front = site
    await until(systemd.is_well, START_SECONDS)
    clients = [
        (front.ws if n % 2 else front.wss, user, await sync_to_async(user.ws_token)(),
         users[max(0, n - 2) : n + 3])
        for n, user in enumerate(users)
    ]  # fmt: skip
    with tabs.Tabs(clients, front.certificate) as crowd:
        await until(lambda: crowd.are_live, 60)
        await until(lambda: len(told(redis)) == len(users))
        # The first answers to `watch` were given while others were yet to come, and may be late.
        await until(lambda: crowd.see_each_other)
        for tab in crowd.all:
            tab.presence.clear()
        load, stop = Load(users, PUBLISHES_PER_SECOND), asyncio.Event()
        publishing = asyncio.create_task(publish_until(stop, load))
        yield crowd.all, load
        await until(lambda: crowd.are_live)
        stop.set()
        await publishing
        with contextlib.suppress(TimeoutError):
            await until(lambda: load.is_complete(crowd.all))
        assert await presence.aonline_count() == len(users)


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


async def make_users(model, count):
    """Make users at once."""
    await model.objects.abulk_create(model(username=f"user{n}") for n in range(count))
    return [user async for user in model.objects.order_by("pk")]


async def mute(stack, systemd, number, user):
    """Connect a client to an instance that won't answer when that closes the connection."""
    token = await sync_to_async(user.ws_token)()
    client = await stack.enter_async_context(systemd.client(number, token))
    await client.subscribed()
    client.socket.transport.pause_reading()
    stack.callback(client.socket.transport.abort)


def check(tabs, load, redis, code, is_quiet):
    """Nothing is lost, nobody noticed; report what happened, and who was away for how long."""
    away = {
        "HTTPS": list(itertools.chain(*(tab.away for tab in tabs[::2]))),
        "HTTP": list(itertools.chain(*(tab.away for tab in tabs[1::2]))),
        "signing in": list(itertools.chain(*(tab.signing_in for tab in tabs))),
    }
    print("\n".join(f"{name}: {distribution(seconds)}" for name, seconds in away.items()))
    times = [len(tab.away) for tab in tabs]
    print(f"away how often: { ({n: times.count(n) for n in sorted(set(times))}) }")
    print(f"replayed: {sum(tab.replayed for tab in tabs)} messages of"
          f" {sum(len(got) for tab in tabs for got in tab.got.values())}")  # fmt: skip
    assert load.faults(tabs) == []
    assert not any(tab.missed for tab in tabs)
    assert {value for tab in tabs for value in tab.recovered} == {True}
    assert not [tab.errors for tab in tabs if tab.errors]
    assert {met for tab in tabs for met in tab.codes} == {code}
    assert not [pair for tab in tabs for pair in tab.presence if not pair[1]]
    assert {edge.partition(":")[0] for edge in told(redis)} == {"online"}
    longest = max(*away["HTTP"], *away["HTTPS"])
    if is_quiet:
        assert longest < LIMIT_SECONDS
    elif longest >= LIMIT_SECONDS:
        print("The machine did something else, too: how long it took says nothing.")


def distribution(seconds):
    """Describe durations."""
    seconds = sorted(seconds)
    at = {name: seconds[int(len(seconds) * part)] for name, part in (("p90", 0.9), ("p99", 0.99))}
    figures = {"median": statistics.median(seconds), **at, "max": seconds[-1]}
    return f"{len(seconds)} times, " + ", ".join(f"{k} {v:.2f} s" for k, v in figures.items())


async def test_restarted_one_after_another(is_quiet, site, django_user_model, redis):
    """By the page's script; each of them has a client that makes its end take longer."""
    systemd, _ = site
    users = await make_users(django_user_model, 2 * TABS)
    async with contextlib.AsyncExitStack() as stack:
        await until(systemd.is_well, START_SECONDS)
        for number in NUMBERS:
            await mute(stack, systemd, number, users[-1])
        async with under_load(site, users, redis) as (crowd, load):
            took = await rolling_restart(systemd)
    print(f"the script took {took:.1f} s; stops: {[round(each, 1) for each in systemd.stops]} s")
    assert sum(len(tab.away) for tab in crowd) >= len(users)  # each process had its share
    check(crowd, load, redis, 4503, is_quiet)
    assert not sum(instance.tracebacks for instance in systemd.all)


async def test_killed(is_quiet, site, django_user_model, redis):
    """With SIGKILL, and started again by the unit: clients are with the others meanwhile."""
    systemd, _ = site
    users = await make_users(django_user_model, 2 * TABS)
    async with under_load(site, users, redis) as (crowd, load):
        before = redis.smembers("user_ws.processes")
        for number in NUMBERS[:2]:
            await asyncio.to_thread(systemd.kill, number)
            await until(systemd.is_well, START_SECONDS)
            await until(
                lambda: min(tab.live_seconds for tab in crowd) > STABLE_SECONDS, START_SECONDS
            )
        # The others notice, and tell nobody to be offline.
        await until(lambda: len(before & redis.smembers("user_ws.processes")) == 2)
    check(crowd, load, redis, 1006, is_quiet)
