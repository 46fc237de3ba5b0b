"""The full test of endings: `python -m tests.benchmarks.endings [--seed N]`.

200 sessions on two processes; while 100 of their users are logged out, deactivated, deleted or
given new passwords, the subscriptions at Redis are cut 20 times at random. Exactly those must end,
none later than the period. It prints when each kind ended and exits 1 if anything is wrong.
"""

import argparse
import asyncio
import contextlib
import os
import random
import sys
import time

import tests.environment  # noqa: F401  (names a Redis and a folder for the database)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

SESSIONS, CUTS, PERIOD_SECONDS, LAST_SECONDS = 200, 20, 5.0, 10.0


async def log_out(user):
    """As Django's signal does it."""
    await user.ws_adisconnect()


async def deactivate(user):
    """Deactivate."""
    user.is_active = False
    await user.asave()


async def delete(user):
    """Delete."""
    await user.adelete()


async def change_password(user):
    """Give a new password."""
    user.set_password("another")
    await user.asave()


ENDS = [log_out, deactivate, delete, change_password]


async def cut(redis, chance):
    """Cut all subscriptions, at random moments."""
    for moment in sorted(chance.uniform(0, LAST_SECONDS) for _ in range(CUTS)):
        await asyncio.sleep(max(0.0, moment - (time.monotonic() - cut.started_at)))
        redis.client_kill_filter(_type="pubsub")


async def end(users, chance):
    """End the users' sessions, spread over the same time; return when each was ended."""
    ended = {}
    for number, user in enumerate(users):
        await asyncio.sleep(chance.uniform(0, 2 * LAST_SECONDS / len(users)))
        await ENDS[number % len(ENDS)](user)
        ended[number] = time.monotonic()
    return ended


async def closing(client):
    """Return the close code and when it came."""
    code = await client.closed()
    return code, time.monotonic()


async def scene(servers, users, chance):
    """Play it; return delays by kind of ending, and the clients that should not have ended."""
    import redis as redis_py

    from tests.kit import Client

    redis = redis_py.Redis.from_url(os.environ["REDIS_URL"])
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for number, user in enumerate(users):
            client = Client(servers[number % 2].ws, user.ws_token())
            clients.append(await stack.enter_async_context(client))
            await clients[-1].subscribed()
        half = len(users) // 2
        waiting = [asyncio.create_task(closing(client)) for client in clients[:half]]
        cut.started_at = time.monotonic()
        _, ended = await asyncio.gather(cut(redis, chance), end(users[:half], chance))
        found = await asyncio.gather(*waiting)
        staying = [await client.settle() for client in clients[half:]]
    delays = {kind.__name__: [] for kind in ENDS}
    for number, (code, at) in enumerate(found):
        assert code == 4401, (number, code)
        delays[ENDS[number % len(ENDS)].__name__].append(max(0.0, at - ended[number]))
    redis.close()
    return delays, staying


def main():
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.endings", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    seed = parser.parse_args().seed

    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from tests.kit import Daphne

    call_command("migrate", verbosity=0)
    make = get_user_model().objects.create_user
    users = [make(f"user{number}", password="demo") for number in range(SESSIONS)]
    servers = [Daphne({"BAZIS_WS_REAUTHORIZE_SECONDS": PERIOD_SECONDS}) for _ in range(2)]
    try:
        for server in servers:
            server.wait_until_ready()
        delays, staying = asyncio.run(scene(servers, users, random.Random(seed)))
    finally:
        for server in servers:
            server.stop()
    every = sorted(delay for each in delays.values() for delay in each)
    print(f"seed {seed}; {len(every)} ended, {len(staying)} stayed, {CUTS} cuts")
    for kind, each in delays.items():
        late = sum(delay > 1 for delay in each)
        print(
            f"{kind:16} median {sorted(each)[len(each) // 2]:.3f} s, longest {max(each):.3f} s,",
            end="",
        )
        print(f" {late} later than 1 s")
    # Each line stands there twice, by two handlers.
    losses = sum(server.log.count("The subscriptions at Redis are back") // 2 for server in servers)
    print(f"subscriptions came back {losses} times; tracebacks {[s.tracebacks for s in servers]}")
    is_right = staying == [[]] * len(staying) and every[-1] < PERIOD_SECONDS + 1
    print("PASS" if is_right else "MISS")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
