"""A process that is asked to stop takes its connections off at once and says so."""

from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async

from tests.kit import PATIENCE_SECONDS, Client, until
from tests.presence.support import is_online, keys, open_all, told


async def test_sigterm(start, make_users, redis):
    """All sockets close with 4503, with a session or without; nobody is online; no key left
    but what a peer needs to tell."""
    users = await make_users(30)
    server = await start()
    async with AsyncExitStack() as stack:
        clients = await open_all(stack, [(server, user) for user in users])
        clients.append(await stack.enter_async_context(Client(server.ws)))
        await clients[-1].settle()
        server.terminate()
        assert {await client.closed() for client in clients} == {4503}
        await sync_to_async(server.wait)()
        assert not await is_online(users[0])
        assert keys(redis) <= {"user_ws.leaving", "user_ws.edges"}
        assert server.tracebacks == 0
    assert len(told(redis)) <= len(users)


async def test_sigterm_right_after_a_handshake(start, alice, bob, redis):
    """daphne's own clean-up fails within a second of a handshake; ours does not."""
    server = await start()
    async with Client(server.ws, alice.ws_token()) as early:
        await early.subscribed()
        async with Client(server.ws, bob.ws_token()) as late, Client(server.ws) as anonymous:
            await late.subscribed()
            await anonymous.settle()
            server.terminate()
            codes = [await each.closed() for each in (early, late, anonymous)]
            assert codes == [4503] * 3
        await sync_to_async(server.wait)()
        assert "Killed" not in server.log, "daphne cleaned up by itself: this proved nothing"
        assert keys(redis) <= {"user_ws.leaving", "user_ws.edges"}


async def test_a_peer_tells_after_the_grace(pair, start, alice, bob, redis):
    """Whom the stopped process served, and nobody else, is told offline, once."""
    stopping = await start()
    async with AsyncExitStack() as stack:
        await open_all(stack, [(pair[0], bob), (stopping, alice), (stopping, bob)])
        await until(lambda: len(told(redis)) == 2)
        stopping.terminate()
        await sync_to_async(stopping.wait)()
        assert not await is_online(alice)
        assert await is_online(bob)
        await until(lambda: f"offline:{alice.pk}" in told(redis))
        assert told(redis, bob) == [f"online:{bob.pk}"]
    await until(lambda: not keys(redis))
    assert told(redis, alice) == [f"online:{alice.pk}", f"offline:{alice.pk}"]


async def test_a_client_that_does_not_answer_holds_nothing_up(start, alice, redis):
    """The process ends by itself though a client never answers the close frame."""
    server = await start()
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        client.socket.transport.pause_reading()
        server.terminate()
        await sync_to_async(server.wait)(PATIENCE_SECONDS)
        assert "Killed" not in server.log, "daphne has ended it"
        assert "The end was cut short" not in server.log
        assert not await is_online(alice)
        client.socket.transport.abort()


async def test_who_comes_back_does_not_meet_the_one_that_stops(start, alice, bob):
    """It takes no connection from the first close frame on, so that a proxy goes to another."""
    server = await start()
    async with (
        Client(server.ws, alice.ws_token()) as mute,
        Client(server.ws, bob.ws_token()) as other,
    ):
        await mute.subscribed()
        await other.subscribed()
        mute.socket.transport.pause_reading()  # which makes the end take a second
        server.terminate()
        assert await other.closed() == 4503
        with pytest.raises(ConnectionRefusedError):
            await Client(server.ws, bob.ws_token()).__aenter__()
        assert server.process.poll() is None, "it has ended: this proved nothing"
        mute.socket.transport.abort()
        await sync_to_async(server.wait)()
        assert server.tracebacks == 0
