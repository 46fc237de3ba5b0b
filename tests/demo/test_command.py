"""``manage.py demo``: one command, and nothing left of it."""

import os
import re
import secrets
import signal
import socket
import stat
import subprocess
import sys

import pytest
import redis
from redis.exceptions import NoPermissionError
from websockets.exceptions import InvalidStatus

from tests.demo.people import Socket, call, token_of
from tests.demo.processes import BLANK, DemoCommand, command_line, exists, family
from tests.kit import ROOT, SyncClient, wait_until
from tests.kit.processes import listening_ports

#: Permissions hold back the administrator, too.
HELD_BACK = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if not os.getuid() else ()

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


def member(server, word):
    """Wait for the process of a demo whose arguments hold `word`, which is no keeper of it; of
    several, as in a pool, return the oldest."""

    def found():
        lines = {pid: " ".join(command_line(pid)) for pid in family(server.pid)}
        return [pid for pid, line in lines.items() if word in line and "keeper.py" not in line]

    return min(wait_until(found))


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
    member(server, "celery")
    processes = family(server.pid)
    server.kill()
    wait_until(lambda: not [pid for pid in processes if exists(pid)])


@pytest.mark.parametrize("word", ["valkey-server", "daphne", "celery"])
def test_a_child_that_dies_ends_the_demo(start, word):
    """With a message that names it."""
    server = start()
    victim = member(server, word)
    processes = family(server.pid)
    os.kill(victim, signal.SIGKILL)
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


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_every_address_is_every_name(start, host):
    """Who asks for that wants to be reached as whatever others call this machine."""
    server = start("--no-worker", "--host", host)
    assert f"http://localhost:{server.port}/" in server.log
    assert "Other machines reach it too" in server.log
    token = token_of(server, "alice")
    assert call(server, "me/", token=token, headers={"Host": "machine.test"})[0] == 200
    origin = "http://machine.test:8000"
    with SyncClient(server.ws, subprotocols=["bazis-ws", token], origin=origin) as socket:
        assert socket.subscribed()


def test_names_that_are_given_are_all(start):
    """Also on every address."""
    server = start("--no-worker", "--host", "0.0.0.0", ALLOWED_HOSTS="127.0.0.1")
    token = token_of(server, "alice")
    assert call(server, "me/", token=token, headers={"Host": "machine.test"})[0] == 400


def test_only_this_machine_reaches_it_by_default(start):
    """On loopback, under its names alone."""
    server = start("--no-worker")
    assert "Other machines" not in server.log
    token = token_of(server, "alice")
    assert call(server, "me/", token=token, headers={"Host": "machine.test"})[0] == 400
    other = SyncClient(server.ws, subprotocols=["bazis-ws", token], origin="http://machine.test")
    with pytest.raises(InvalidStatus, match="403"), other:
        pass


def test_a_redis_that_does_not_answer_is_told(directory):
    """With REDIS_URL set, no embedded server is started instead."""
    assert "REDIS_URL" in run(directory, REDIS_URL="redis://127.0.0.1:1/0")


def test_a_database_that_does_not_answer_is_told(directory):
    """In a line, not in a traceback."""
    url = "postgres://nobody:secret@127.0.0.1:1/none"
    log = run(directory, DATABASE_URL=url)
    assert "database" in log
    assert "secret" not in log


def refused(tmp_path, *arguments, by=(), **env):
    """Run manage.py where it can't start; return the one line that it prints."""
    env = {**os.environ, **BLANK, "DJANGO_SETTINGS_MODULE": "demo.settings", **env}
    command = [*by, sys.executable, str(ROOT / "manage.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", ["demo", "check"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path, command):
    """In a line that says what to set; by other commands too."""
    (tmp_path / "file").touch()
    line = refused(tmp_path, command, DEMO_DATA_DIR=str(tmp_path / "file" / "below"))
    assert "Not a directory" in line
    assert "DEMO_DATA_DIR" in line


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """Also by the administrator, whom no permissions hold back."""
    line = refused(tmp_path, "demo", DEMO_DATA_DIR="/proc/self")
    assert "/proc/self" in line
    assert "DEMO_DATA_DIR" in line


@pytest.mark.parametrize("command", ["demo", "migrate", "demo_users"])
def test_a_folder_that_is_read_only_is_told(tmp_path, command):
    """Also where the secret is in it already, and only the database can't be written."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "secret_key").write_text(secrets.token_urlsafe(64))
    folder.chmod(0o500)
    line = refused(tmp_path, command, by=HELD_BACK, DEMO_DATA_DIR=str(folder))
    assert line.startswith(f"The folder {folder} is read-only. Let DEMO_DATA_DIR name another")


def test_no_folder_is_needed_where_all_is_given(tmp_path):
    """A deployment on a read-only disk has its secret and its database elsewhere."""
    given = {"SECRET_KEY": secrets.token_urlsafe(50), "DATABASE_URL": "sqlite://:memory:"}
    env = {**os.environ, **BLANK, **given, "DEMO_DATA_DIR": "/proc/self/none"}
    command = [sys.executable, str(ROOT / "manage.py"), "check"]
    done = subprocess.run(
        command,
        env={**env, "DJANGO_SETTINGS_MODULE": "demo.settings"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_celery_is_told(tmp_path):
    """With the command that installs it."""
    source = "raise ModuleNotFoundError(\"No module named 'celery'\", name='celery')"
    (tmp_path / "celery.py").write_text(source)
    line = refused(tmp_path, "demo", PYTHONPATH=str(tmp_path))
    assert line == "The demo needs celery, which is not installed: pip install -e '.[demo]'"


def test_an_embedded_server_that_cannot_start_is_told(directory, tmp_path):
    """For instance in a folder whose name Valkey's configuration can't hold."""
    (tmp_path / "a space").mkdir()
    log = run(directory, TMPDIR=str(tmp_path / "a space"))
    assert "There is no embedded Valkey on this machine (Server failed to start" in log


def test_the_embedded_server_is_the_demos_alone(start):
    """Its port is open to every user of the machine: they may ping it, and no more."""
    server = start("--no-worker")
    valkey = member(server, "valkey-server")
    (port,) = listening_ports(valkey)
    with redis.Redis(port=port) as client:
        assert client.ping()
        for command in (("GET", "key"), ("PUBLISH", "asgi__group__common", "x"), ("INFO",)):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


def test_the_keeper_of_the_embedded_server_may_be_killed(start):
    """The server goes with it, and so does the demo."""
    server = start("--no-worker")
    keeper = member(server, "embedded.py")
    processes = family(server.pid)
    os.kill(keeper, signal.SIGKILL)
    assert server.wait(30) == 1
    assert "Valkey ended by itself (signal 9)" in server.log
    assert not [pid for pid in processes if exists(pid)]
