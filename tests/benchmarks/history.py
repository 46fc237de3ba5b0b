"""What replay costs: `python -m tests.benchmarks.history [--users 10000]`.

Microseconds of `ws_publish` with and without a stream, in turns, and those that Redis works for it;
bytes of Redis for each user who holds a position, with 0, 1 and 100 messages, and for users who
were never here.
"""

import argparse
import json
import os
import statistics
import sys
import time

import redis

from tests.benchmarks.drops import prepare

MESSAGE = {"type": "order_shipped", "number": 42, "text": "x" * 60}


def timed(call, count=500):
    """Return the microseconds of one call."""
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count * 1e6


def publishing_costs(server, here, away, rounds):
    """Time calls in turns, so that a busy moment of the machine meets all of them."""
    calls = {
        "recorded": lambda: here.ws_publish(MESSAGE),
        "record=False": lambda: here.ws_publish(MESSAGE, record=False),
        "nobody holds a position": lambda: away.ws_publish(MESSAGE),
        "bare PUBLISH": lambda: server.publish("asgi__group__x", "x" * 130),
    }
    times = {name: [] for name in calls}
    in_redis = {}
    for _ in range(rounds):
        for name, call in calls.items():
            server.config_resetstat()
            times[name].append(timed(call))
            stats = server.info("commandstats")
            used = sum(stats.get(f"cmdstat_{each}", {}).get("usec", 0) for each in ("evalsha",))
            in_redis.setdefault(name, []).append(used / 500)
    return {
        name: {
            "us_a_call_best": round(min(values), 1),
            "us_a_call_median": round(statistics.median(values), 1),
            "us_of_scripts_in_redis_best": round(min(in_redis[name]), 1),
        }
        for name, values in times.items()
    }


def memory_costs(server, pks, away):
    """Return bytes a user, beyond what there was before."""
    from bazis_ws_channels import publishing
    from bazis_ws_channels.groups import common_group, user_group
    from bazis_ws_channels.sending import channel_layer

    def used():
        return server.info("memory")["used_memory_dataset"]

    figures = {}
    before = used()
    publishing.publish(away, MESSAGE)
    figures[f"{len(away)} absent users, bytes in all"] = max(0, used() - before)
    figures["keys of absent users"] = len(server.keys("user_ws.{*"))
    server.flushall()
    before = used()
    streams = channel_layer().streams
    for start in range(0, len(pks), 500):
        streams.tops_blocking([user_group(pk) for pk in pks[start : start + 500]], 30)
    streams.tops_blocking([common_group()], 3)
    figures["bytes a user, 0 messages"] = round((used() - before) / len(pks))
    publishing.publish(pks, MESSAGE)
    figures["bytes a user, 1 message"] = round((used() - before) / len(pks))
    for _ in range(99):
        publishing.publish(pks, MESSAGE)
    figures["bytes a user, 100 messages"] = round((used() - before) / len(pks))
    entry = server.lrange(f"user_ws.{{asgi__group__{user_group(pks[0])}}}.messages", -1, -1)[0]
    figures["bytes of one message as kept"] = len(entry)
    return figures


def main():
    """Do it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    here, away = prepare(2)
    from django.conf import settings

    settings.BAZIS_WS_HISTORY_SECONDS = 3600
    settings.BAZIS_WS_PUBLISH_TIMEOUT = 60
    settings.BAZIS_WS_REDIS_TIMEOUT = 60
    server = redis.Redis.from_url(os.environ["REDIS_URL"])
    assert here.ws_position
    for user in (here, away):
        timed(lambda user=user: user.ws_publish(MESSAGE))
    figures = publishing_costs(server, here, away, options.rounds)
    server.flushall()
    pks = range(1_000_000, 1_000_000 + options.users)
    figures["memory"] = memory_costs(server, pks, range(2_000_000, 2_100_000))
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
