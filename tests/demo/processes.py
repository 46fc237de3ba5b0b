"""The demo's processes, and what is left of them."""

import os
import random
import re
import sys
from pathlib import Path

from tests.kit import ROOT, CeleryWorker, Daphne, Server
from tests.kit.redis import PORTS

#: The tests' own surroundings must not reach the demo.
BLANK = dict.fromkeys(
    (
        *("REDIS_URL", "DATABASE_URL", "SECRET_KEY", "ALLOWED_HOSTS"),
        *("DEBUG", "LOG_LEVEL", "DEMO_TOKEN_SECONDS"),
    ),
    "",
)


class DemoCommand(Server):
    """``manage.py demo``, which wants to be told its port: one that no system gives away."""

    ready = re.compile(r"Ctrl-C ends it\.")

    def __init__(self, data_dir, *arguments, port=None, **env):
        self.port = random.choice(PORTS) if port is None else port
        self.arguments = arguments
        settings = {"DJANGO_SETTINGS_MODULE": "demo.settings", "DEMO_DATA_DIR": str(data_dir)}
        super().__init__(env={**BLANK, "DEMO_TASK_SECONDS": "1", **settings, **env})

    @classmethod
    def started(cls, *args, **env):
        """Return one that runs: on another port where somebody had the first."""
        for _ in range(5):
            server = cls(*args, **env)
            try:
                server.wait_until_ready()
            except AssertionError:
                server.stop()
                if "already in use" not in server.log:
                    raise
            else:
                return server
        raise AssertionError(server.log)

    def command(self):
        manage = str(ROOT / "manage.py")
        return [sys.executable, manage, "demo", "--port", str(self.port), *self.arguments]


class DemoDaphne(Daphne):
    """daphne with the demo, as a deployment runs it."""

    application = "demo.asgi:application"

    def __init__(self, env):
        super().__init__(env={**BLANK, "DJANGO_SETTINGS_MODULE": "demo.settings", **env})


class DemoWorker(CeleryWorker):
    """The demo's Celery worker, alone."""

    application = "demo"

    def __init__(self, env):
        short = {"DEMO_TASK_SECONDS": "1", "DJANGO_SETTINGS_MODULE": "demo.settings"}
        super().__init__(env={**BLANK, **short, **env})


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
    """Return a process's arguments; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def exists(pid):
    """Whether a process runs."""
    return pid in alive() and os.path.exists(f"/proc/{pid}")
