"""Work in turns of the event loop, between which others run."""

import asyncio

import pytest

from bazis_ws_channels.servers.turnstile import Turnstile, current_turnstile


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock."""
    return Clock()


class Crowd:
    """Steps that take so long each, and what was done in each turn of the loop."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds
        self.turns = [[]]

    def step(self, name, times):
        """Return a step to be done so many times."""
        left = [times]

        def step():
            self.turns[-1].append(name)
            self.clock.now += self.seconds
            left[0] -= 1
            return left[0] > 0

        return step

    async def watch(self, turns):
        """Let the loop have so many turns."""
        for _ in range(turns):
            await asyncio.sleep(0)
            self.turns.append([])
        return [turn for turn in self.turns if turn]


async def test_others_run_between_turns(clock):
    """A turn ends when its time is over."""
    turnstile, crowd = Turnstile(clock), Crowd(clock, 0.004)
    turnstile.join(crowd.step("a", 5))
    assert await crowd.watch(4) == [["a"] * 3, ["a"] * 2]


async def test_a_turn_has_few_steps(clock):
    """However short they are: a step may set more going than it does itself."""
    turnstile, crowd = Turnstile(clock), Crowd(clock, 0)
    turnstile.join(crowd.step("a", 40))
    assert await crowd.watch(4) == [["a"] * 16, ["a"] * 16, ["a"] * 8]


async def test_everybody_has_a_turn(clock):
    """However much one of them has."""
    turnstile, crowd = Turnstile(clock), Crowd(clock, 0.004)
    turnstile.join(crowd.step("a", 3))
    turnstile.join(crowd.step("b", 1))
    turnstile.join(crowd.step("c", 2))
    assert await crowd.watch(4) == [["a", "b", "c"], ["a", "c", "a"]]


async def test_one_step_at_least(clock):
    """Though it takes longer than a turn."""
    turnstile, crowd = Turnstile(clock), Crowd(clock, 1)
    turnstile.join(crowd.step("a", 2))
    assert await crowd.watch(4) == [["a"], ["a"]]
    turnstile.join(crowd.step("b", 1))
    assert await crowd.watch(2) == [["a"], ["a"], ["b"]]


async def test_a_step_that_fails_takes_nobody_along(clock):
    """The loop's handler hears of it; the next one has its turn."""
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    turnstile, crowd = Turnstile(clock), Crowd(clock, 0)

    def fail():
        raise RuntimeError("a bug")

    turnstile.join(fail)
    turnstile.join(crowd.step("a", 1))
    assert await crowd.watch(3) == [["a"]]
    assert [str(each["exception"]) for each in heard] == ["a bug"]


async def test_each_loop_has_one():
    """Its own."""
    assert current_turnstile() is current_turnstile()
