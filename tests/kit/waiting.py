"""Wait for a condition that nothing announces; move a clock."""

import asyncio
import threading
import time

#: Nothing here is a claim about speed: only the end of a test that would wait for ever.
PATIENCE_SECONDS = 20

#: How long to wait between two looks.
POLL_SECONDS = 0.02


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now

    def move(self, seconds):
        """Move it on, or back."""
        self.now += seconds


async def until(condition, seconds=PATIENCE_SECONDS):
    """Wait until `condition()`, which may be a coroutine function, holds; return its result."""
    end = time.monotonic() + seconds  # not the loop's clock, which a test may move
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await asyncio.wait_for(result, seconds)
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {condition}")
        await asyncio.sleep(POLL_SECONDS)


def wait_until(condition, seconds=PATIENCE_SECONDS):
    """Do the same in sync code."""
    end, never = time.monotonic() + seconds, threading.Event()
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        never.wait(POLL_SECONDS)
    return result


def move_clock(seconds):
    """Let the running event loop's clock jump: its timers are due, and nobody has slept."""
    loop = asyncio.get_running_loop()
    moved = loop.time() - time.monotonic() + seconds
    loop.time = lambda: time.monotonic() + moved
