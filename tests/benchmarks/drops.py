"""The drop test at full size: `python -m tests.benchmarks.drops [--kill]`.

200 clients on two daphne processes. Each link is cut for 2 s in every 10 s, at a random moment,
while 20 messages a second go to each user or to all, for 60 s. With ``--kill`` one of the two
processes is killed (-9) every 15 s besides. Printed: what of the messages arrived, and how.
"""

import argparse
import asyncio
import atexit
import contextlib
import itertools
import json
import os
import statistics
import sys
import time

import tests.environment  # noqa: F401 - before the settings: a place for the database


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--links", type=int, default=20, help="clients share a proxy, and its cuts")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--down", type=float, default=2)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--per-second", type=float, default=20)
    parser.add_argument("--kill", action="store_true")
    return parser.parse_args()


def prepare(count):
    """Start a Redis, unless ``REDIS_URL`` names one; make a database and its users; return them."""
    import django

    from tests.kit import Redis

    if "REDIS_URL" not in os.environ:
        redis = Redis()
        atexit.register(redis.close)
        os.environ["REDIS_URL"] = redis.url
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    model = get_user_model()
    model.objects.bulk_create(model(username=f"drop{n}") for n in range(count))
    return list(model.objects.order_by("pk"))


async def kill_in_turns(servers, proxies, start, stop):
    """Kill one of the servers every 15 s; its clients go to the other meanwhile."""
    for number in itertools.count():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 15)
            return
        victim = number % 2
        for proxy in proxies:
            proxy.target = servers[1 - victim].port
        await asyncio.to_thread(servers[victim].kill)
        servers[victim] = await asyncio.to_thread(start)
        for proxy, server in zip(proxies, itertools.cycle(servers), strict=False):
            proxy.target = server.port


async def run(options, users):
    """Run the test; return its figures."""
    from tests.kit import Daphne, Proxy, until
    from tests.replay.dropping import Load, Wanderer, cut_at_random

    started = []

    def start():
        server = Daphne()
        started.append(server)
        server.wait_until_ready()
        return server

    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [server.stop() for server in started])
        servers = [start(), start()]
        proxies = [stack.enter_context(Proxy(servers[n % 2].port)) for n in range(options.links)]
        clients = [
            Wanderer(lambda proxy=proxy: proxy.ws, user, user.ws_token())
            for user, proxy in zip(users, itertools.cycle(proxies), strict=False)
        ]
        for client in clients:
            await asyncio.wait_for(client.live.wait(), 60)
        load, stop = Load(users, options.per_second), asyncio.Event()
        tasks = [asyncio.create_task(cut_at_random(proxies, options.down, options.every, stop))]
        if options.kill:
            tasks.append(asyncio.create_task(kill_in_turns(servers, proxies, start, stop)))
        began = time.monotonic()
        await load.run(options.seconds)
        seconds = time.monotonic() - began
        stop.set()
        await asyncio.gather(*tasks)
        with contextlib.suppress(TimeoutError):
            await until(lambda: load.is_complete(clients), 30)
        figures = summary(load, clients) | {"seconds": round(seconds, 1)}
        for client in clients:
            await client.stop()
        return figures


def summary(load, clients):
    """Return the figures."""
    due = got = twice = 0
    for client in clients:
        for stream, pk in (("user", client.user.pk), ("common", None)):
            sure = {number for number, worked in load.published[pk] if worked}
            due += len(sure)
            got += len(sure & set(client.got[stream]))
            twice += len(client.got[stream]) - len(set(client.got[stream]))
    recovered = [value for client in clients for value in client.recovered]
    return {
        "clients": len(clients),
        "messages_due": due,
        "delivered_percent": round(100 * got / due, 4),
        "twice": twice,
        "faults": load.faults(clients)[:5],
        "reconnects": len(recovered),
        "recovered_true": recovered.count(True),
        "missed": sum(client.missed for client in clients),
        "replayed": sum(client.replayed for client in clients),
        "median_replayed_a_client": statistics.median(client.replayed for client in clients),
    }


def main():
    """Do it all; exit 1 where a message is missing."""
    options = arguments()
    users = prepare(options.clients)
    figures = asyncio.run(run(options, users))
    print(json.dumps(figures, indent=2))
    is_whole = not figures["faults"] and figures["recovered_true"] == figures["reconnects"]
    return 0 if is_whole and not figures["missed"] else 1


if __name__ == "__main__":
    sys.exit(main())
