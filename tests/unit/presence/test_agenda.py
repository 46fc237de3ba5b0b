"""What is due when."""

import asyncio
import math
from enum import IntEnum

import pytest

from bazis_ws_channels.presence.agenda import Agenda


class Job(IntEnum):
    """Jobs, by their order."""

    FIRST = 1
    SECOND = 2
    THIRD = 3


@pytest.fixture
def agenda(clock):
    """An empty one."""
    return Agenda(clock)


def test_jobs_are_taken_when_they_are_due_in_their_order(agenda, clock):
    """Each once."""
    agenda.put(Job.THIRD, 1)
    agenda.put(Job.FIRST, 2)
    agenda.put(Job.SECOND, 5)
    assert agenda.take() == []
    assert agenda.next_in_seconds == 1
    clock.move(2)
    assert agenda.next_in_seconds == -1
    assert agenda.take() == [Job.FIRST, Job.THIRD]
    assert agenda.take() == []
    assert Job.SECOND in agenda
    assert Job.FIRST not in agenda


def test_put_moves_forward_only(agenda):
    """`move` both ways."""
    agenda.put(Job.FIRST, 5)
    agenda.put(Job.FIRST, 9)
    assert agenda.next_in_seconds == 5
    agenda.put(Job.FIRST, 3)
    assert agenda.next_in_seconds == 3
    agenda.move(Job.FIRST, 9)
    assert agenda.next_in_seconds == 9


def test_an_empty_agenda_waits_for_ever(agenda):
    """Dropping what isn't there is no error."""
    assert agenda.next_in_seconds == math.inf
    agenda.drop(Job.FIRST)
    agenda.put(Job.FIRST, 0)
    agenda.drop(Job.FIRST)
    assert agenda.next_in_seconds == math.inf


async def waits(agenda, *, pause=False):
    """Begin to wait for long; return the task, asleep."""
    waiting = asyncio.ensure_future(agenda.pause(60) if pause else agenda.wait(60))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    return waiting


async def test_who_waits_is_woken_by_what_comes_before_all_others(agenda):
    """Not by what comes later."""
    waiting = await waits(agenda)
    agenda.put(Job.FIRST, 50)
    await waiting
    waiting = await waits(agenda)
    agenda.put(Job.SECOND, 55)
    await asyncio.sleep(0)
    assert not waiting.done()
    agenda.put_now(Job.THIRD)
    await waiting
    assert agenda.take() == [Job.THIRD]


async def test_waiting_ends_at_once_where_something_is_due(agenda, clock):
    """Or when it was put before the wait began."""
    agenda.put(Job.FIRST, 1)
    await agenda.wait(60)  # it was put, and came first
    clock.move(2)
    await agenda.wait(60)
    agenda.take()
    await agenda.wait(0)


async def test_a_pause_does_not_end_for_what_was_due_before(agenda):
    """But for what is put meanwhile."""
    agenda.put_now(Job.FIRST)
    waiting = await waits(agenda, pause=True)
    agenda.put_now(Job.SECOND)
    await waiting
    await agenda.pause(0)
