"""Redis goes away and comes back: sockets stay, publishing says so, everything flows again."""

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import publishing
from bazis_ws_channels.exceptions import PublishError
from tests.kit import Client, until


@pytest.fixture
def start(daphne, valkey, settings):
    """Start daphne processes whose Redis is the test's own."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    return lambda **options: daphne(CHANNEL_LAYERS=valkey.channel_layers, **options)


async def fails_in_time(publish):
    """Check that a call raises within its time limit, and a little for a busy machine."""
    started_at = time.monotonic()
    with pytest.raises(PublishError):
        await publish()
    assert time.monotonic() - started_at < 3 + 1


async def flows_again(user, clients):
    """Publish until it arrives; return after how many seconds."""
    started_at = time.monotonic()
    arrivals = [asyncio.ensure_future(client.data()) for client in clients]

    async def attempt():
        try:
            await publishing.apublish([user], "after")
        except PublishError:
            pass
        return all(arrival.done() for arrival in arrivals)

    await until(attempt)
    return time.monotonic() - started_at


async def test_redis_stops_and_comes_back(start, valkey, alice):
    """With nothing in it: the server writes and subscribes everything again by itself."""
    server = await sync_to_async(start)(BAZIS_WS_RENEW_SECONDS=0.5)
    async with Client(server.ws, alice.ws_token()) as first, Client(server.ws) as second:
        await first.subscribed()
        await second.send({"token": alice.ws_token()})
        await second.subscribed()
        assert await alice.ws_apublish("before") == 2
        assert [await client.data() for client in (first, second)] == ["before"] * 2
        await asyncio.to_thread(valkey.stop)
        await until(lambda: "No subscriptions at Redis" in server.log)
        await until(lambda: "The presence store failed" in server.log)
        await fails_in_time(lambda: asyncio.to_thread(alice.ws_publish, "lost"))
        await fails_in_time(lambda: alice.ws_apublish("lost"))
        await fails_in_time(lambda: asyncio.to_thread(publishing.broadcast, "lost"))
        for client in (first, second):
            assert await client.settle() == []
        await asyncio.to_thread(valkey.start)
        assert await flows_again(alice, (first, second)) < 2
        await until(sync_to_async(lambda: alice.ws_publish("counted") == 2))
        assert await sync_to_async(lambda: alice.is_online)()
        assert {"lost", "error"}.isdisjoint(
            {message.get("data", message["type"]) for message in first.seen + second.seen}
        )
    assert server.tracebacks == 0


async def test_redis_hangs_and_goes_on(start, valkey, alice):
    """A call doesn't hang with it; a socket doesn't notice."""
    server = await sync_to_async(start)()
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        assert await asyncio.to_thread(alice.ws_publish, "before") == 1
        assert await client.data() == "before"
        valkey.pause()
        await fails_in_time(lambda: asyncio.to_thread(alice.ws_publish, "lost"))
        assert await client.settle() == []
        valkey.resume()
        assert await flows_again(alice, [client]) < 2


async def test_who_connects_while_redis_is_away_is_sent_to_come_back(start, valkey, alice):
    """`internal_error` and 4500, not a socket that never hears anything."""
    server = await sync_to_async(start)()
    await asyncio.to_thread(valkey.stop)
    async with Client(server.ws, alice.ws_token()) as client:
        assert await client.closed() == 4500
        assert client.seen[-1]["code"] == "internal_error"
    await asyncio.to_thread(valkey.start)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await flows_again(alice, [client])
    assert server.tracebacks == 0
