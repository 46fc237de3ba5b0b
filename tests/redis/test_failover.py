"""A planned failover: the old primary lives on as a replica and keeps its connections."""

import asyncio

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from bazis_ws_channels.publishing import apublish, publish
from tests.kit import Client, Proxy, channel_layers, move_clock, until
from tests.presence.support import QUICK


@pytest.fixture
def pair(own_redis):
    """A primary and its replica, behind a name: ``(name, primary, replica)``."""
    primary, replica = own_redis(), own_redis()
    replica.client.replicaof("127.0.0.1", primary.port)
    with Proxy(primary.url) as name:
        yield name, primary, replica


def fail_over(name, primary, replica):
    """Swap the roles; the name points at the new primary for connections to come."""
    replica.client.replicaof("NO", "ONE")
    primary.client.replicaof("127.0.0.1", replica.port)
    name.target = replica.url


async def arrives(send, client):
    """Send until it arrives."""
    arrival = asyncio.ensure_future(client.data())

    async def attempt():
        await send()
        return arrival.done()

    return await until(attempt)


async def test_presence_and_subscriptions_move_to_the_new_primary(pair, daphne, use, alice, bob):
    """By themselves, though no connection broke."""
    name, old, new = pair
    use(name.url)
    server = await sync_to_async(daphne)(CHANNEL_LAYERS=channel_layers(name.url), **QUICK)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await until(lambda: new.client.exists(alice.ws_session))
        await sync_to_async(fail_over)(*pair)
        await until(lambda: any("user_ws" in name for name in new.subscribed()))
        assert not any("user_ws" in name for name in old.subscribed())
        async with Client(server.ws, bob.ws_token()) as other:
            await other.subscribed()
            assert await sync_to_async(presence.count)([alice, bob]) == 2
        # The old primary ends: whatever still leant on it would fail now.
        await asyncio.to_thread(old.stop)
        await arrives(sync_to_async(lambda: publish([alice], "after")), client)
        assert await sync_to_async(lambda: alice.is_online)()
        assert await client.settle() is not None
        assert client.socket.close_code is None
    assert server.tracebacks == 0


async def test_a_publisher_that_only_publishes_notices(pair, daphne, use, alice):
    """PUBLISH works on a replica, and reaches nobody: a publisher looks where it is."""
    name, _, new = pair
    use(name.url)
    server = await sync_to_async(daphne)(CHANNEL_LAYERS=channel_layers(new.url), **QUICK)
    await apublish([alice], "warm")
    await sync_to_async(publish)([alice], "warm")
    await sync_to_async(fail_over)(*pair)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        move_clock(10)
        assert await apublish([alice], "async") == 1
        assert await client.data() == "async"
        await arrives(sync_to_async(lambda: publish([alice], "sync")), client)


async def test_a_write_that_meets_a_replica_is_done_at_the_primary(pair, use, alice):
    """READONLY means that nothing was done: it is sent again, over a new connection."""
    use(pair[0].url)
    await sync_to_async(alice.ws_disconnect)()
    await sync_to_async(fail_over)(*pair)
    await sync_to_async(alice.ws_disconnect)()
    await alice.ws_adisconnect()
    assert pair[2].client.exists(f"user_ws.{alice.pk}.revoked")


@pytest.mark.parametrize("record", [True, False])
async def test_what_meets_a_replica_is_published_once(pair, daphne, use, alice, record):
    """Nothing is done there: who still listens to it does not hear of it twice."""
    name, old, new = pair
    use(name.url)
    server = await sync_to_async(daphne)(CHANNEL_LAYERS=channel_layers(name.url))
    await sync_to_async(publish)([alice], "warm", record=record)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await until(lambda: new.client.exists(alice.ws_session))
        await sync_to_async(fail_over)(*pair)
        await until(lambda: old.client.info("replication")["master_link_status"] == "up")
        await sync_to_async(publish)([alice], "x", record=record, idempotency_key="x")
        await arrives(sync_to_async(lambda: publish([alice], "end", record=record)), client)
        while [each["data"] for each in client.seen if each["type"] == "data"][-1] != "end":
            await client.data()
        values = [each["data"] for each in client.seen if each["type"] == "data"]
        assert values.count("x") == 1
