"""Values of one event loop, freed with it."""

import asyncio
import gc
import weakref

import pytest

from bazis_ws_channels import loops
from bazis_ws_channels.loops import LoopLocal, Turn


class Value:
    """Something that a loop holds, and that may hold the loop."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.is_closed = False

    async def close(self):
        """Close it; what awaits here must be able to."""
        await asyncio.sleep(0)
        self.is_closed = True


@pytest.fixture
def local():
    """Values of that kind."""
    return LoopLocal(Value, Value.close)


def test_each_loop_has_its_own_and_closes_it(local):
    """Made once, closed before the loop is."""

    async def use():
        value = local.get()
        assert local.get() is value is local.peek()
        assert len(local) == 1
        return value

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first is not second
    assert first.is_closed
    assert second.is_closed
    assert len(local) == 0


def test_peek_makes_nothing(local):
    """Who only wants to know gets None."""

    async def look():
        return local.peek()

    assert asyncio.run(look()) is None


def test_a_loop_that_was_closed_without_a_word_is_forgotten_by_the_next(local):
    """It never shut its generators down, so nothing was closed; but nothing is kept either."""

    async def use():
        return weakref.ref(local.get())

    loop = asyncio.new_event_loop()
    gone = loop.run_until_complete(use())
    loop.close()
    del loop
    assert len(local) == 1
    here = asyncio.new_event_loop()
    here.run_until_complete(use())
    assert len(local) == 1
    gc.collect()
    assert gone() is None
    here.run_until_complete(here.shutdown_asyncgens())
    here.close()
    assert len(local) == 0


def test_there_is_no_value_without_a_loop(local):
    """Sync code is told at once."""
    with pytest.raises(RuntimeError):
        local.get()


async def test_a_turn_ends(monkeypatch):
    """By the clock; then others run, and the next one begins."""
    turn, ran = Turn(), []
    assert not turn.is_over
    monkeypatch.setattr(loops, "_TURN_SECONDS", 0)
    turn = Turn()
    assert turn.is_over
    asyncio.get_running_loop().call_soon(ran.append, True)
    monkeypatch.setattr(loops, "_TURN_SECONDS", 60)
    await turn.end()
    assert ran == [True]
    assert not turn.is_over
