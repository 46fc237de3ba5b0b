"""The end of a process with a thousand sockets, while messages are published to them."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.kit import Client, until
from tests.presence.support import QUICK, all_noted, told
from tests.replay.dropping import Load

pytestmark = pytest.mark.alone

USERS, SOCKETS_EACH = 20, 50


@pytest.fixture
async def crowd(daphne, django_user_model, redis):
    """Two processes; the first has a thousand sockets."""
    start = sync_to_async(daphne)
    servers = [await start(**QUICK) for _ in range(2)]
    names = [django_user_model(username=f"user{n}") for n in range(USERS)]
    await django_user_model.objects.abulk_create(names)
    users = [user async for user in django_user_model.objects.order_by("pk")]
    tokens = [await sync_to_async(user.ws_token)() for user in users]
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(SOCKETS_EACH):
            new = [Client(servers[0].ws, token) for token in tokens]
            await asyncio.gather(*map(stack.enter_async_context, new))
            await asyncio.gather(*(client.subscribed() for client in new))
            clients += new
        # One on the peer, so that it has a lease and looks around.
        own = await stack.enter_async_context(Client(servers[1].ws, tokens[0]))
        await own.subscribed()
        await until(lambda: len(told(redis)) == USERS)
        await all_noted(redis)  # before one of them is killed
        load = Load(users, 5)
        publishing = asyncio.create_task(load.run(3600))
        await until(lambda: load.published[None])
        yield servers, users, clients
        publishing.cancel()


async def nobody_is_there(users):
    """Tell whether nobody but who is on the peer is online."""
    return await presence.acount(users) == 1


async def test_sigterm(crowd, redis):
    """Everybody gets 4503, presence is off at once, the process ends in its time."""
    servers, users, clients = crowd
    started = time.monotonic()
    servers[0].terminate()
    closing = asyncio.gather(*(client.closed() for client in clients))
    await until(lambda: nobody_is_there(users))
    offline = time.monotonic() - started
    codes = Counter(await closing)
    closed = time.monotonic() - started
    await asyncio.to_thread(servers[0].wait, 15)
    print(f"SIGTERM, {len(clients)} sockets: offline after {offline:.1f} s, the last close after"
          f" {closed:.1f} s, ended after {time.monotonic() - started:.1f} s")  # fmt: skip
    assert codes == {4503: len(clients)}
    assert time.monotonic() - started < 10
    assert servers[0].tracebacks == 0
    await all_are_told(redis, users)


async def test_sigkill(crowd, redis):
    """The lease runs out, and the peer tells each user offline once."""
    servers, users, _ = crowd
    started = time.monotonic()
    await asyncio.to_thread(servers[0].kill)
    await until(lambda: nobody_is_there(users))
    offline = time.monotonic() - started
    await all_are_told(redis, users)
    print(f"SIGKILL, {USERS * SOCKETS_EACH} sockets: offline after {offline:.1f} s,"
          f" told after {time.monotonic() - started:.1f} s")  # fmt: skip
    assert servers[1].tracebacks == 0


async def all_are_told(redis, users):
    """Each user but the one on the peer is told offline, once."""
    wanted = {f"offline:{user.pk}": 1 for user in users[1:]}

    def offline():
        return Counter(edge for edge in told(redis) if edge.startswith("offline"))

    await until(lambda: offline() == wanted)
    await until(lambda: redis.scard("user_ws.processes") == 1)
    assert offline() == wanted
