"""A terminal: one command, as a shell runs it, and what it prints."""

import contextlib
import os
import re
import signal
import subprocess
import threading

from tests.kit import wait_until


class Terminal:
    """A command in a process group of its own; `text` is what it has printed."""

    def __init__(self, line, folder, env):
        self.line = line
        self._lines = []
        self._process = subprocess.Popen(
            ["bash", "-c", line],
            cwd=folder,
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self._lines.extend(self._process.stdout)

    @property
    def text(self):
        return "".join(self._lines)

    def finish(self, seconds=300):
        """Wait for the command's end; return what it printed. It must succeed."""
        try:
            code = self._process.wait(seconds)
        finally:
            self.close()
        assert code == 0, f"$ {self.line}\n{self.text}"
        return self.text

    def says(self, pattern, seconds=90):
        """Wait until it prints something; return the match."""

        def look():
            found = re.search(pattern, self.text)
            assert found or self._process.poll() is None, f"$ {self.line}\n{self.text}"
            return found

        try:
            return wait_until(look, seconds)
        except AssertionError as error:
            raise AssertionError(f"no {pattern!r}: $ {self.line}\n{self.text}") from error

    def close(self):
        """End the command and all that it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._reader.join(15)  # until nobody holds the pipe
            if not self._reader.is_alive():
                break
        self._process.wait(15)
        self._process.stdout.close()
