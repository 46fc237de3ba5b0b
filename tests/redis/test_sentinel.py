"""Redis Sentinel in its usual layout: whatever dies, everything is back by itself."""

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels.exceptions import PublishError
from tests.kit import Client, Sentinels, until

#: Sentinel's own share: a second until it believes that the primary is down, the vote, the switch;
#: and a busy machine.
LIMIT_SECONDS = 15


@pytest.fixture
def sentinels(settings):
    """The five servers, which this process uses."""
    with Sentinels() as sentinels:
        settings.CHANNEL_LAYERS = sentinels.channel_layers
        yield sentinels


def fail_over(sentinels):
    sentinels.fail_over()


def kill_primary(sentinels):
    sentinels.kill_primary()


def kill_machine(sentinels):
    sentinels.kill_first_machine()


def freeze_machine(sentinels):
    sentinels.freeze_first_machine()


async def flows_to(client, publish, value):
    """Publish until it arrives; return after how many seconds."""
    started_at, arrival = time.monotonic(), asyncio.ensure_future(client.data())

    async def attempt():
        try:
            await publish(value)
        except PublishError:
            pass
        return arrival.done()

    await until(attempt, 60)
    return time.monotonic() - started_at


@pytest.mark.parametrize("fail", [fail_over, kill_primary, kill_machine, freeze_machine])
async def test_all_is_back_by_itself(sentinels, daphne, alice, bob, fail):
    """Messages, sign-ins, presence: of processes that were there, and of one that is new."""
    server = await sync_to_async(daphne)(CHANNEL_LAYERS=sentinels.channel_layers)
    sync_publish = sync_to_async(alice.ws_publish, thread_sensitive=False)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        assert await alice.ws_apublish("before") == 1
        assert await sync_publish("before") == 1
        await client.settle()
        await sync_to_async(fail)(sentinels)
        by_async, by_sync = await asyncio.gather(
            flows_to(client, alice.ws_apublish, "x"), flows_to_nobody(sync_publish)
        )
        print(f"{fail.__name__}: async {by_async:.1f} s, sync {by_sync:.1f} s")
        assert max(by_async, by_sync) < LIMIT_SECONDS
        fresh = await sync_to_async(daphne)(CHANNEL_LAYERS=sentinels.channel_layers)
        for process in (server, fresh):
            started_at = time.monotonic()
            await until(lambda process=process: signs_in(process, bob))
            print(f"{fail.__name__}: sign-in at {process!r} {time.monotonic() - started_at:.1f} s")
        assert await until(sync_to_async(lambda: alice.is_online))
        assert client.socket.close_code is None


async def flows_to_nobody(publish):
    """Publish until that works; return after how many seconds."""
    started_at = time.monotonic()

    async def attempt():
        try:
            await publish("y")
        except PublishError:
            return False
        return True

    await until(attempt, 60)
    return time.monotonic() - started_at


async def signs_in(server, user):
    """Tell whether a sign-in works now."""
    async with Client(server.ws, user.ws_token()) as client:
        return (await client.receive())["type"] == "subscribed"
