"""A plain synchronous process that publishes, the way a view or a Celery task would."""

import asyncio
import gc
import json
import os
import sys
import time

import django
import redis

FLOOR_CHANNEL = "floor"
# With its wrapping the text of each frame has about 130 bytes, as in the issue's own figures.
DATA = {"type": "chat_message", "sender": {"id": 1, "username": "u1"}, "message": "x" * 40}


def floor_calls() -> dict:
    """Publish text straight to Redis: the least that any publishing call does."""
    client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])
    text = json.dumps({"type": "data", "data": DATA}).encode()
    return {"broadcast": lambda: client.publish(FLOOR_CHANNEL, text)}


def stock_calls() -> dict:
    """Publish as the Channels tutorial has one do it outside of consumers."""
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    event = {"type": "chat.message", "message": DATA}
    return {
        "broadcast": lambda: async_to_sync(layer.group_send)("common", event),
        "user": lambda: async_to_sync(layer.group_send)("user_1", event),
    }


def ours_calls() -> dict:
    """Publish by the package's own calls."""
    from django.contrib.auth import get_user_model

    from bazis_ws_channels import publishing

    users = list(get_user_model().objects.order_by("pk")[:1000])
    return {
        "broadcast": lambda: publishing.broadcast(DATA),
        "user": lambda: users[0].ws_publish(DATA),
        "thousand": lambda: publishing.publish(users, DATA),
        "thousand_each": lambda: [user.ws_publish(DATA) for user in users],
    }


async def longest_turn() -> float:
    """Publish to 100,000 users; return the longest time that this held the event loop, in seconds
    of the processor: other work of the machine doesn't count.
    """
    from bazis_ws_channels import publishing

    gc.freeze()  # as our servers do: a look at all that Django holds is no turn of ours
    task = asyncio.ensure_future(publishing.apublish(range(1_000_000, 1_100_000), DATA))
    longest, before = 0.0, time.thread_time()
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    await task
    return longest


CALLS = {"floor": floor_calls, "stock": stock_calls, "ours": ours_calls}


def repeat(call, count: int, rate: float | None) -> dict:
    """Call so often, as fast as possible or at a rate; return when it began and ended."""
    cpu, started = time.process_time(), time.monotonic()
    for index in range(count):
        if rate:
            time.sleep(max(0.0, started + index / rate - time.monotonic()))
        call()
    return {"start": started, "end": time.monotonic(), "cpu": time.process_time() - cpu}


def main(kind: str) -> None:
    """Answer each command line on standard input."""
    if kind != "floor":
        django.setup()
    calls = CALLS[kind]()
    for line in sys.stdin:
        command = json.loads(line)
        if command["call"] == "longest_turn":
            print(json.dumps({"seconds": asyncio.run(longest_turn())}), flush=True)
            continue
        result = repeat(calls[command["call"]], command["count"], command.get("rate"))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
