"""The demo's processes, and what is left of them."""

import os
import sys
from pathlib import Path

from tests.demo.people import until
from tests.servers import ROOT, Server

#: The tests' own surroundings must not reach the demo.
BLANK = dict.fromkeys(
    (
        *("REDIS_URL", "DATABASE_URL", "SECRET_KEY", "ALLOWED_HOSTS"),
        *("DEBUG", "LOG_LEVEL", "DEMO_TOKEN_SECONDS"),
    ),
    "",
)


class DemoServer(Server):
    """A process of the demo."""

    def wait_until_ready(self):
        """Wait until it is ready, or has ended."""
        until(lambda: self._is_ready.is_set() or self.process.poll() is not None, 90)
        assert self._is_ready.is_set(), f"{type(self).__name__} did not start:\n{self.log}"


class DemoCommand(DemoServer):
    """``manage.py demo``."""

    ready = "Ctrl-C ends it."

    def __init__(self, data_dir, *arguments, **env):
        self.arguments = arguments
        settings = {"DJANGO_SETTINGS_MODULE": "demo.settings", "DEMO_DATA_DIR": str(data_dir)}
        super().__init__(env={**BLANK, "DEMO_TASK_SECONDS": "1", **settings, **env})

    def command(self):
        manage = str(ROOT / "manage.py")
        return [sys.executable, manage, "demo", "--port", str(self.port), *self.arguments]


class DemoDaphne(DemoServer):
    """daphne with the demo, as a deployment runs it."""

    ready = "Listening on TCP address"

    def __init__(self, env, port=None):
        self._wanted_port = port
        super().__init__(env={**BLANK, "DJANGO_SETTINGS_MODULE": "demo.settings", **env})

    def command(self):
        self.port = self._wanted_port or self.port
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "daphne", *address, "demo.asgi:application"]


def alive():
    """Return the parent of every process that runs (a zombie does not), by its id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if state != "Z":
            found[int(entry.name)] = int(parent)
    return found


def family(pid):
    """Return `pid` and all its descendants."""
    parents, members = alive(), {pid}
    while more := {child for child, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def command_line(pid):
    """Return a process's arguments."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def exists(pid):
    """Whether a process runs."""
    return pid in alive() and os.path.exists(f"/proc/{pid}")
