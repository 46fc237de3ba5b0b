"""``manage.py demo``: one command, and nothing left of it."""

import os
import re
import signal
import socket
import stat
import sys

import pytest

from tests.demo.people import Socket, call, token_of
from tests.demo.processes import DemoCommand, command_line, exists, family
from tests.kit import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """One data directory for all: the second start is a fast one."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def start(directory):
    """Start demos; all end with the test."""
    servers = []

    def make(*arguments, **env):
        servers.append(DemoCommand.started(directory, *arguments, **env))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def member(processes, word):
    """Return the one of `processes` whose arguments hold `word` (a pool's children too: the
    oldest)."""
    return min(pid for pid in processes if any(word in part for part in command_line(pid)))


def test_greets_and_works(start):
    """It says where it is and how to sign in, and that is true."""
    server = start("--no-worker")
    assert f"http://127.0.0.1:{server.port}/" in server.log
    assert re.search(r"alice, bob, carol .*password is demo", server.log)
    for name in ("alice", "bob", "carol", "admin"):
        assert token_of(server, name)
    assert call(server, "me/", token=token_of(server, "admin"))[1]["is_staff"] is True


def test_secret_is_made_once_and_private(start, directory):
    """A file of the first start, readable by its owner alone; the next start takes it."""
    start("--no-worker").stop()
    file = directory / "secret_key"
    secret = file.read_text()
    assert len(secret) >= 50
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    start("--no-worker").stop()
    assert file.read_text() == secret


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(start, number):
    """Twice the same, as impatient people do, with a user connected and a task running."""
    server = start(DEMO_TASK_SECONDS="3")
    token = token_of(server, "alice")
    with Socket(server, token) as alice:
        call(server, "tasks/", {}, token)
        assert alice.data()["type"] == "task_started"
        processes = family(server.pid)
        assert len(processes) >= 5  # itself, Valkey, daphne, the worker and its pool
        os.kill(server.pid, number)
        os.kill(server.pid, number)
        assert alice.closed() == 4503
    assert server.wait(30) == 0
    assert not [pid for pid in processes if exists(pid)]
    assert "The demo has ended." in server.log
    assert server.tracebacks == 0


def test_a_killed_command_leaves_nothing(start):
    """Nobody can clean up after kill -9 but the kernel."""
    server = start()
    processes = family(server.pid)
    server.kill()
    wait_until(lambda: not [pid for pid in processes if exists(pid)])


@pytest.mark.parametrize("word", ["valkey-server", "daphne", "celery"])
def test_a_child_that_dies_ends_the_demo(start, word):
    """With a message that names it."""
    server = start()
    processes = family(server.pid)
    os.kill(member(processes, word), signal.SIGKILL)
    assert server.wait(30) == 1
    assert re.search(r"(Valkey|daphne|worker) ended by itself \(signal 9\)", server.log)
    assert not [pid for pid in processes if exists(pid)]


def run(directory, *arguments, **env):
    """Run a demo that is not expected to start; return its log when it has ended."""
    server = DemoCommand(directory, *arguments, **env)
    try:
        assert server.wait(30) != 0
    finally:
        server.stop()
    assert server.tracebacks == 0, server.log
    return server.log


def test_a_port_in_use_is_told_first(directory):
    """Before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        log = run(directory, port=port)
    assert f"port {port}" in log
    assert "--port" in log


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(directory, port):
    """With a usage message."""
    assert "--port" in run(directory, port=port)


def test_a_host_that_is_not_ours_is_refused(directory):
    """An address of somebody else's."""
    assert "192.0.2.1" in run(directory, "--host", "192.0.2.1")


def test_a_redis_that_does_not_answer_is_told(directory):
    """Where REDIS_URL names one, none of our own takes its place."""
    assert "REDIS_URL" in run(directory, REDIS_URL="redis://127.0.0.1:1/0")


def test_a_database_that_does_not_answer_is_told(directory):
    """In a line, not in a traceback."""
    url = "postgres://nobody:secret@127.0.0.1:1/none"
    log = run(directory, DATABASE_URL=url)
    assert "database" in log
    assert "secret" not in log
