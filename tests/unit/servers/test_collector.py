"""Python's garbage collector, as a process that serves has it."""

import gc
import weakref
from types import SimpleNamespace

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.signals import request_finished
from django.db import close_old_connections

from bazis_ws_channels.counters import counts
from bazis_ws_channels.servers import collector, has_arrived

PYTHONS_OWN = (700, 10, 10)


class Cycle:
    """What only the collector finds."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def start_up(monkeypatch):
    """Let the process be one in which no connection has come; leave it as it was."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    for name, value in {"_is_asked": False, "_is_calm": False, "_collected": 0}.items():
        monkeypatch.setattr(collector, name, value)
    monkeypatch.setattr(counts, "opened", 0)
    monkeypatch.setattr(counts, "connections", 0)
    gc.set_threshold(*PYTHONS_OWN)
    yield
    request_finished.disconnect(dispatch_uid="bazis_ws_channels.connections")
    gc.set_threshold(*before)
    if not frozen:
        gc.unfreeze()


@pytest.fixture
def garbage():
    """Return what is gone after a look at all objects, and not before."""
    cycle = Cycle()
    gc.collect(1)  # it is no young object any more
    return weakref.ref(cycle)


def end(number):
    """Let so many connections end."""
    for _ in range(number):
        counts.opened += 1
        collector.collect_ended()


async def test_the_first_connection_calms_it():
    """Once: whoever sets something else later is right."""
    assert await has_arrived(print)
    assert gc.get_threshold() == (5000, 0, 250)
    assert gc.get_freeze_count() > 10_000
    gc.set_threshold(5)
    assert await has_arrived(print)
    assert gc.get_threshold()[0] == 5


async def test_what_connections_leave_is_collected_when_many_have_ended(garbage):
    """At least as many as are worth a look, or a quarter of those there are."""
    await has_arrived(print)
    gc.unfreeze()  # the garbage came after start-up
    end(499)
    assert garbage() is not None
    end(1)
    assert garbage() is None


async def test_the_more_connections_the_rarer(garbage):
    """A look takes as long as there are objects."""
    await has_arrived(print)
    gc.unfreeze()
    counts.opened = counts.connections = 4000
    end(999)
    assert garbage() is not None
    end(1)
    assert garbage() is None


@pytest.fixture
def without_djangos_receiver():
    """Django's own receiver would ask the connections that other tests have left in the thread."""
    request_finished.disconnect(close_old_connections)
    yield
    request_finished.connect(close_old_connections)


@pytest.mark.usefixtures("without_djangos_receiver")
async def test_a_request_leaves_no_database_connection_to_the_collector(monkeypatch):
    """Under ASGI its thread ends with it, and a connection with CONN_MAX_AGE would stay open until
    all objects are looked at. One of a thread that goes on is left alone.
    """
    closed = []
    monkeypatch.setattr(
        collector, "connections", SimpleNamespace(close_all=lambda: closed.append(1))
    )
    finish = sync_to_async(request_finished.send)
    async with ThreadSensitiveContext():
        await finish(sender=None)
        assert not closed
        await has_arrived(print)
        await finish(sender=None)
        assert closed == [1]
    await finish(sender=None)
    assert closed == [1]


@pytest.mark.parametrize("thresholds", [(20_000, 3, 4), (2000, 10, 0)])
async def test_a_collector_that_is_set_otherwise_is_left_alone(thresholds, garbage):
    """By the project, or by a Python that looks at some objects at a time."""
    gc.set_threshold(*thresholds)
    await has_arrived(print)
    assert gc.get_threshold() == thresholds
    end(600)
    assert garbage() is not None


async def test_a_collector_that_is_off_stays_off():
    """Nor are its thresholds touched, for when it is back."""
    gc.disable()
    try:
        await has_arrived(print)
        assert gc.get_threshold() == PYTHONS_OWN
    finally:
        gc.enable()


async def test_a_setting_leaves_it_alone(settings):
    """For a project that wants Python's own."""
    settings.BAZIS_WS_TUNE_GC = False
    await has_arrived(print)
    assert gc.get_threshold() == PYTHONS_OWN
