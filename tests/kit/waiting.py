"""Wait for a condition that nothing announces."""

import asyncio
import threading
import time

#: Nothing here is a claim about speed: only the end of a test that would wait for ever.
PATIENCE_SECONDS = 20

#: How long to wait between two looks.
POLL_SECONDS = 0.02


async def until(condition, seconds=PATIENCE_SECONDS):
    """Wait until `condition()`, which may be a coroutine function, holds; return its result."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return result
            await asyncio.sleep(POLL_SECONDS)


def wait_until(condition, seconds=PATIENCE_SECONDS):
    """Do the same in sync code."""
    end, never = time.monotonic() + seconds, threading.Event()
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        never.wait(POLL_SECONDS)
    return result
