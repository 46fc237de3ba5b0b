"""Locks in threads and over forks."""

import asyncio
import os
import signal
import threading
import warnings

import pytest

from bazis_ws_channels.auth.unwritten import Unwritten
from bazis_ws_channels.locks import ProcessLock
from bazis_ws_channels.loops import LoopLocal


def test_one_thread_at_a_time():
    """As with any lock."""
    lock, other = ProcessLock(), []
    with lock:
        assert not lock.acquire(blocking=False)
        thread = threading.Thread(target=lambda: (lock.acquire(), other.append(True)))
        thread.start()
        assert not other
    thread.join(20)
    assert other
    lock.release()
    assert lock.acquire(blocking=False)


def in_a_child(work):
    """Fork, and call `work` in the child; return its exit status. It has 10 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
        child = os.fork()
    if not child:
        signal.alarm(10)
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.fixture
def held():
    """Let another thread hold a lock: ``held(lock)``, until the test is over."""
    is_over, threads = threading.Event(), []

    def hold(lock):
        is_held = threading.Event()

        def work():
            with lock:
                is_held.set()
                is_over.wait(20)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        assert is_held.wait(20)

    yield hold
    is_over.set()
    for thread in threads:
        thread.join()


def test_a_child_is_not_locked_out(held):
    """By a thread that it has not."""
    lock = ProcessLock()
    held(lock)
    assert in_a_child(lambda: lock.acquire()) == 0
    assert not lock.acquire(blocking=False)


def test_a_child_has_event_loops_of_its_own(held):
    """Forked while another thread's loop was making a value."""
    local = LoopLocal(object, lambda value: asyncio.sleep(0))
    held(local._lock)

    async def use():
        return local.get() is not None

    assert in_a_child(lambda: asyncio.run(use())) == 0


def test_a_child_writes_endings_of_its_own(held, clock, monkeypatch):
    """Forked while another thread was writing what was kept."""
    written = []
    monkeypatch.setattr(Unwritten, "_write", lambda self: written.append(True))
    kept = Unwritten(clock)
    kept.keep("an ending", None)
    clock.move(60)
    held(kept._lock)

    def work():
        kept.write()
        return written

    assert in_a_child(work) == 0
    kept.write()
    assert not written
