"""Bursts, guests that come and go, and subscriptions that are cut: seeded, so that what fails
fails again.
"""

import asyncio
import os

import pytest
from channels.layers import channel_layers, get_channel_layer

from bazis_ws_channels import layers, loops
from tests.replay.crossfire import Crossfire

SEEDS = [int(each) for each in os.environ.get("CROSSFIRE_SEEDS", "1,2").split(",")]
SECONDS = float(os.environ.get("CROSSFIRE_SECONDS", "2"))


@pytest.fixture
async def server(own_redis, settings, monkeypatch, unhurried):
    """A Redis of the test's own, that keeps all; hand-outs yield all the time."""
    server = own_redis(appendonly="yes", appendfsync="always")
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


def trouble_of(kind, server):
    """Return what is done again and again."""
    if kind == "nothing":
        return None

    async def cut(chance):
        await asyncio.to_thread(server.client.client_kill_filter, _type="pubsub")

    async def pause(chance):
        await asyncio.to_thread(server.pause)
        await asyncio.sleep(chance.uniform(0, 0.5))
        server.resume()

    async def restart(chance):
        if chance.random() < 0.3:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

    return {"cut": cut, "pause": pause, "restart": restart}[kind]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["nothing", "cut", "pause", "restart"])
async def test_each_gets_all_once_and_in_order(server, users, transactional_db, kind, seed):
    """Nobody is told of a gap, for there is none."""
    fire = Crossfire(get_channel_layer(), users, seed, trouble=trouble_of(kind, server))
    await fire.run(SECONDS)
    print(kind, seed, fire.figures())
    for n in fire.faults():
        if n != "end":
            print(n, fire.faults()[n])
            print(*fire.guests[n].log, sep="\n")
            break
    assert fire.faults() == {}
    assert fire.figures()["missed"] == fire.figures()["unrecovered"] == 0
