"""Whatever belongs to an event loop goes with it, however short its life is."""

import asyncio
import gc
import warnings

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from bazis_ws_channels import presence
from bazis_ws_channels.publishing import apublish
from tests.kit import wait_until

LOOPS = 20


async def use_everything():
    """Publish, ask who is online, subscribe: every kind of connection."""
    layer = get_channel_layer()
    await apublish([1], {"n": 1})
    assert await presence.aonline([1]) == set()
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await layer.group_send("g", {"type": "x"})
    assert (await layer.receive(channel))["type"] == "x"


def by_run():
    """As a command or a task does."""
    asyncio.run(use_everything())


def by_async_to_sync():
    """As an async view under WSGI does."""
    async_to_sync(use_everything)()


def by_loop_that_is_closed():
    """By hand, and without `shutdown_asyncgens`."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use_everything())
    loop.close()


@pytest.mark.parametrize("run", [by_run, by_async_to_sync])
def test_a_loop_leaves_no_connection(valkey, use, run):
    """62 requests of a WSGI server with an async view ended a Redis of 64 clients."""
    use(valkey.url)
    for _ in range(LOOPS):
        run()
        wait_until(lambda: not valkey.clients())


def test_a_loop_that_is_just_closed_is_forgotten_with_the_next(valkey, use, caplog):
    """asyncio tells of the tasks that were left; the package has nothing to add."""
    use(valkey.url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(LOOPS):
            by_loop_that_is_closed()
            gc.collect()
            assert len(valkey.clients()) <= 4  # this one's and the last one's
        by_run()  # a loop that closes what is its own: nothing is left for asyncio to complain of
        gc.collect()
    wait_until(lambda: not valkey.clients())
    assert "Traceback" not in caplog.text
    assert "bazis_ws_channels" not in {record.name for record in caplog.records}
