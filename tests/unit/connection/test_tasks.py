"""Tasks that end with their connection."""

import asyncio

from bazis_ws_channels.connection.tasks import Tasks


async def test_tasks_are_guarded_and_forgotten(tasks, told):
    """What they raise is told to the client."""

    async def fails():
        raise RuntimeError("a bug")

    await tasks.spawn(fails())
    await asyncio.sleep(0)
    assert told.calls == [("fail", "internal_error", 4500)]
    assert not tasks._tasks


async def test_cancel_waits_until_they_have_ended(tasks):
    """Their clean-up too."""
    ended = []

    async def lasts():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    for _ in range(2):
        tasks.spawn(lasts())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == [True, True]


async def test_a_task_may_end_its_own_connection(tasks):
    """It isn't waited for by itself."""

    async def ends():
        await tasks.cancel()
        return "done"

    await asyncio.wait_for(tasks.spawn(ends()), 5)


async def test_a_task_that_never_began_leaves_no_coroutine_behind(tasks):
    """Python would warn of it."""

    async def never():
        """Not reached."""

    coroutine = never()
    tasks.spawn(coroutine)
    await tasks.cancel()
    await asyncio.sleep(0)
    assert coroutine.cr_frame is None


async def test_without_tasks_there_is_nothing_to_cancel():
    """Before the guard is there, too."""
    await Tasks().cancel()
