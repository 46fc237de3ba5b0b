"""A project's own consumer: its features, and its errors, which don't affect others."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from bazis_ws_channels import presence, publishing
from tests.delivery.conftest import DeliveryDaphne, DeliveryUvicorn
from tests.kit import Client, Daphne, Uvicorn, until

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
def connect(server):
    """Make a client of the consumer of `tests.delivery.asgi`."""
    return lambda user=None: Client(
        f"{server.ws.removesuffix('/ws')}/delivery/", user and user.ws_token()
    )


async def event(user, kind, **fields):
    """Send an event to the user's connections, as project code does."""
    await get_channel_layer().group_send(user.user_channel, {"type": kind, **fields})


async def test_a_subclass_adds_messages(connect, alice):
    """With a session, or without where it says so."""
    async with connect() as client:
        await client.send({"type": "hello"})
        assert await client.receive() == {"type": "hello", "user": None}
        await client.send({"type": "rename", "name": "A"})
        assert (await client.receive_type("error"))["code"] == "not_authenticated"
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        await client.send({"type": "rename", "name": "A"})
        assert await client.receive() == {"type": "renamed", "name": "A"}
        await client.send({"type": "rename", "name": 5})
        error = await client.receive_type("error")
        assert (error["code"], error["detail"]) == ("bad_message", "`name` must be a string.")
    await alice.arefresh_from_db()
    assert alice.first_name == "A"


async def test_a_subclass_adds_events_of_the_channel_layer(connect, alice):
    """As in any consumer."""
    async with connect(alice) as client:
        await client.subscribed()
        await event(alice, "order.shipped", number=7)
        assert await client.receive() == {"type": "order", "number": 7}


async def test_a_client_handler_that_fails_ends_its_own_connection(server, connect, alice):
    """`internal_error`, 4500; the user's other connection goes on."""
    async with connect(alice) as client, connect(alice) as other:
        await client.subscribed()
        await other.subscribed()
        await client.send({"type": "fail"})
        assert await client.closed() == 4500
        assert client.seen[-1]["code"] == "internal_error"
        assert "a bug" not in client.seen[-1]["detail"]
        await until(lambda: has_connections(alice, 1))
        assert await alice.ws_apublish(1) == 1
        assert await other.data() == 1
    await until(lambda: "RuntimeError: a bug in project code" in server.log)


async def has_connections(user, number):
    """Whether Redis knows of so many: that one has gone may come after its close frame."""
    return await presence.acount([user]) == number


@pytest.mark.parametrize("kind", ["order.failed", "order.unheard_of"])
async def test_an_event_handler_that_fails_ends_its_own_connections(connect, alice, bob, kind):
    """Or one that doesn't exist: those whose event it is, nobody else."""
    async with connect(alice) as client, connect(bob) as other:
        await client.subscribed()
        await other.subscribed()
        await event(alice, kind)
        assert await client.closed() == 4500
        assert client.seen[-1]["code"] == "internal_error"
        assert await bob.ws_apublish(1) == 1
        assert await other.data() == 1


async def test_an_event_without_a_type_ends_its_own_connections(server, connect, alice, bob):
    """It comes from the same Redis connection as everybody's messages, which must live on."""
    async with connect(alice) as client, connect(bob) as other:
        await client.subscribed()
        await other.subscribed()
        await get_channel_layer().group_send(alice.user_channel, {"number": 7})
        assert await bob.ws_apublish(1) == 1
        assert await other.data() == 1
        assert await client.closed() == 4500
    assert "No subscriptions at Redis" not in server.log


async def test_a_poison_message_ends_nobody(connect, alice):
    """Messages that can't be decoded are dropped before any consumer sees them."""
    async with connect(alice) as client:
        await client.subscribed()
        await event(alice, "order.shipped", number={1: 2})
        await alice.ws_apublish(1)
        assert await client.data() == 1


async def test_a_slow_handler_does_not_hold_up_group_messages(connect, alice):
    """A client's message may take as long as it likes."""
    async with connect(alice) as client:
        await client.subscribed()
        await client.send({"type": "wait"})
        await client.receive_type("waiting")
        await alice.ws_apublish(1)
        assert await client.data() == 1
        await event(alice, "order.released")
        assert await client.receive() == {"type": "released"}


async def test_a_slow_query_of_one_holds_up_no_messages_of_others(connect, alice, bob, redis):
    """The process has one thread for the database; delivery needs none."""
    async with connect(alice) as client, connect(bob) as other:
        await client.subscribed()
        await other.subscribed()
        await client.send({"type": "slow_query", "until": "test.consumer"})
        done = asyncio.ensure_future(client.receive_type("slow_query_done"))
        for n in range(10):
            await bob.ws_apublish(n)
            assert await other.data() == n
        assert not done.done()
        redis.rpush("test.consumer", "go on")
        await done


async def test_messages_of_a_client_are_served_in_order(connect, alice):
    """One after another, however long each takes."""
    async with connect(alice) as client:
        await client.subscribed()
        await client.send({"type": "wait"})
        await client.receive_type("waiting")
        await client.send({"type": "hello"})
        await event(alice, "order.released")
        kinds = [(await client.receive())["type"] for _ in range(2)]
        assert kinds == ["released", "hello"]


@pytest.mark.parametrize("server_class", [DeliveryDaphne, DeliveryUvicorn])
async def test_all_ways_to_send_keep_one_order(daphne, alice, server_class):
    """`push` and `send_json` mixed."""
    server = await sync_to_async(daphne)(server_class)
    async with Client(f"{server.ws.removesuffix('/ws')}/delivery/", alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "mixed", "count": 500})
        received = [(await client.receive_type("mixed"))["n"] for _ in range(500)]
        assert received == list(range(500))


async def test_a_send_on_a_closing_socket_is_silence(server, connect, alice):
    """No traceback, no second close."""
    tracebacks = server.tracebacks
    async with connect(alice) as client:
        await client.subscribed()
        await client.send({"type": "bye"})
        assert await client.closed() == 4000
        assert [message["type"] for message in client.seen] == ["subscribed"]
    assert server.tracebacks == tracebacks


@pytest.mark.parametrize("server_class", [Daphne, Uvicorn])
async def test_messages_to_sockets_that_are_going_are_silence(daphne, alice, bob, server_class):
    """Thirty clients vanish in the midst of a stream; one stays and misses nothing."""
    server = await sync_to_async(daphne)(server_class)
    async with Client(server.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        closing = []
        going = [Client(server.ws, alice.ws_token()) for _ in range(30)]
        for client in going:
            await client.__aenter__()
            await client.subscribed()
        for n, client in enumerate(going):
            await asyncio.gather(*(publishing.abroadcast([n, m]) for m in range(20)))
            if n % 3 == 0:
                client.socket.transport.abort()
            else:
                closing.append(asyncio.ensure_future(client.socket.close(4000 + n)))
        received = [await bystander.data() for _ in range(600)]
        assert received == [[n, m] for n in range(30) for m in range(20)]
        await asyncio.gather(*closing)
    assert server.tracebacks == 0
