"""Bursts, guests that come and go, and a Redis in trouble: seeded, so that what fails tends to fail
again. For longer, set ``CROSSFIRE_SEEDS=3,4,5 CROSSFIRE_SECONDS=20``.
"""

import asyncio
import os

import pytest
from channels.layers import channel_layers, get_channel_layer

from bazis_ws_channels import layers, loops
from tests.replay.crossfire import Crossfire

SEEDS = [int(each) for each in os.environ.get("CROSSFIRE_SEEDS", "1,2").split(",")]
SECONDS = float(os.environ.get("CROSSFIRE_SECONDS", "1"))


@pytest.fixture
async def server(own_redis, settings, monkeypatch, unhurried, request):
    """A Redis of the test's own, that keeps all unless the test says so; whoever hands out to
    several ends the turn of the loop behind each.
    """
    keeps = {"appendonly": "yes", "appendfsync": "always"}
    server = own_redis(**({} if getattr(request, "param", None) == "forgets" else keeps))
    settings.CHANNEL_LAYERS = server.channel_layers
    settings.BAZIS_WS_HISTORY_MESSAGES = 1_000_000
    settings.BAZIS_WS_HISTORY_BYTES = 10**9
    settings.BAZIS_WS_MAX_CONNECTIONS_PER_USER = 1000
    monkeypatch.setattr(loops, "_TURN_SECONDS", 0)
    monkeypatch.setattr(layers, "_RECIPIENTS_A_LOOK", 1)
    channel_layers.backends.clear()
    yield server
    await get_channel_layer().flush()
    channel_layers.backends.clear()


@pytest.fixture
def users(make_user):
    """Some users."""
    return [make_user(f"user{n}") for n in range(5)]


async def cut(server, chance):
    """Cut all subscriptions."""
    await asyncio.to_thread(server.client.client_kill_filter, _type="pubsub")


async def pause(server, chance):
    """Let Redis hang for a while."""
    await asyncio.to_thread(server.pause)
    await asyncio.sleep(chance.uniform(0, 0.5))
    server.resume()


async def restart(server, chance):
    """Kill Redis and start it again."""
    if chance.random() < 0.4:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


@pytest.fixture
def fire(server, users, transactional_db):
    """Make one: ``fire(seed, trouble)``."""

    def make(seed, trouble=None):
        def do(chance):
            return trouble(server, chance)

        return Crossfire(get_channel_layer(), users, seed, trouble=trouble and do)

    return make


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("trouble", [None, cut, pause, restart])
async def test_each_gets_all_once_and_in_order(fire, trouble, seed):
    """Nobody is told of a gap, for there is none. Where nothing is cut, what is not recorded keeps
    its place, too.
    """
    crossfire = fire(seed, trouble)
    await crossfire.run(SECONDS)
    figures = crossfire.figures()
    print(figures)
    assert crossfire.faults() == {}
    assert (figures["missed"], figures["unrecovered"]) == (0, 0)


@pytest.mark.parametrize("server", ["forgets"], indirect=True)
@pytest.mark.parametrize("seed", SEEDS)
async def test_whoever_misses_something_is_told(fire, seed):
    """Redis loses its memory again and again."""
    crossfire = fire(seed, restart)
    await crossfire.run(SECONDS)
    print(crossfire.figures())
    assert crossfire.faults() == {}
