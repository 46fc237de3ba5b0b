"""When a session ends by itself."""

import asyncio
import time

import pytest

from bazis_ws_channels.connection.expiry import Expiry
from tests.kit import move_clock, until


@pytest.fixture
async def ends():
    """The moments at which the timer rang, by the event loop's clock."""
    return []


@pytest.fixture
async def expiry(ends):
    """A timer."""
    expiry = Expiry(lambda: ends.append(asyncio.get_running_loop().time()))
    yield expiry
    expiry.cancel()


async def turns():
    """Let all that is due run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_time_comes_once(expiry, ends):
    """Not before."""
    assert expiry.set(time.time() + 600) == pytest.approx(600, abs=20)
    move_clock(500)
    await turns()
    assert ends == []
    move_clock(200)
    await until(lambda: ends)
    move_clock(10_000)
    await turns()
    assert len(ends) == 1


async def test_a_moment_that_has_passed(expiry, ends):
    """It is due at once, but not within the call."""
    assert expiry.set(time.time() - 5) == 0
    assert ends == []
    await until(lambda: ends)


async def test_only_the_last_moment_counts(expiry, ends):
    """Later, earlier, or none."""
    expiry.set(time.time() + 10)
    expiry.set(time.time() + 600)
    move_clock(300)
    await turns()
    assert ends == []
    assert expiry.set(None) is None
    move_clock(1000)
    await turns()
    assert ends == []


async def test_cancelled(expiry, ends):
    """However often."""
    expiry.cancel()
    expiry.set(time.time() + 1)
    for _ in range(2):
        expiry.cancel()
    move_clock(10)
    await turns()
    assert ends == []
