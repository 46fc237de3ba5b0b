"""File descriptors used up: said clearly, and over when they are there again."""

import asyncio
from contextlib import AsyncExitStack

from asgiref.sync import sync_to_async

from tests.kit import Client, Daphne, RawSocket, fetch, until


class FewDescriptors(Daphne):
    """daphne that may open 60 files."""

    def command(self):
        """Return the command line."""
        return ["prlimit", "--nofile=60:60", *super().command()]


def take_all(server):
    """Open sockets until the server takes no more; return them."""
    sockets = []
    try:
        while len(sockets) < 100:
            sockets.append(RawSocket(server.ws))
            sockets[-1].socket.settimeout(2)
    except (OSError, EOFError):
        pass
    return sockets


async def test_descriptors_used_up(valkey, daphne, use, alice, bob):
    """Who is there stays and gets messages; who comes later, comes when there is room."""
    use(valkey.url)
    server = await sync_to_async(daphne)(FewDescriptors, **valkey.settings)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(server.ws, alice.ws_token()))
        await client.subscribed()
        sockets = await asyncio.to_thread(take_all, server)
        assert 20 < len(sockets) < 60
        # What the process has at Redis is lost too, and there is no room for anything new.

        async def starve():
            for each in valkey.clients():
                valkey.client.client_kill_filter(each)
            sockets.extend(await asyncio.to_thread(take_all, server))
            return "may open no more files" in server.log

        await until(starve)
        assert await client.settle() == []
        for each in sockets:
            each.close()
        async with Client(server.ws, bob.ws_token()) as other:
            await other.subscribed()
            assert await until(lambda: reaches(bob, other))
        assert await until(lambda: reaches(alice, client))
        await asyncio.to_thread(fetch, f"{server.http}/")
    assert server.tracebacks == 0


async def reaches(user, client):
    """Tell whether a message arrives."""
    return await user.ws_apublish("x") == 1 and await client.data() == "x"
