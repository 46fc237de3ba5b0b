"""Links that drop all the time, and processes that die: everything arrives, in order, once."""

import asyncio
import contextlib
import itertools

from asgiref.sync import sync_to_async

from tests.kit import Proxy, until
from tests.replay.dropping import Load, cut_at_random, wandering


async def test_links_that_are_cut(daphne, make_user):
    """Each for 0.2 s in every second, while 20 messages a second go to each user and to all."""
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(12)]
    servers = [await sync_to_async(daphne)() for _ in range(2)]
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(servers[n % 2].port)) for n in range(6)]
        async with wandering(zip(users, itertools.cycle(proxies), strict=False)) as clients:
            load, stop = Load(users, 20), asyncio.Event()
            cutting = asyncio.create_task(cut_at_random(proxies, 0.2, 1, stop))
            await load.run(5)
            stop.set()
            await cutting
            await load.check(clients)
            assert all(set(client.recovered) <= {True} for client in clients)
            assert sum(client.replayed for client in clients) > 50
            assert sum(len(client.recovered) for client in clients) > 40


async def test_processes_that_are_killed(daphne, make_user):
    """One of two, three times, without a chance to clean up; clients go to the other."""
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(12)]
    start = sync_to_async(daphne, thread_sensitive=False)
    servers = [await start(), await start()]
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(servers[n % 2].port)) for n in range(2)]
        async with wandering(zip(users, itertools.cycle(proxies), strict=False)) as clients:
            load = Load(users, 20)
            running = asyncio.create_task(load.run(6))
            for number in range(3):
                await until(lambda: all(client.live.is_set() for client in clients))
                victim, other = number % 2, 1 - number % 2
                servers[victim].kill()
                proxies[victim].target = servers[other].port
                servers[victim] = await start()
                for proxy, server in zip(proxies, servers, strict=True):
                    proxy.target = server.port
            await running
            await load.check(clients)
            assert all(set(client.recovered) <= {True} for client in clients)
            assert sum(client.replayed for client in clients) > 20
