"""Child processes that live and end together, and never outlive this one."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Child", "ChildDied", "Processes", "Stopped"]

KEEPER = Path(__file__).with_name("keeper.py")
#: How long a child may live on when this process was killed.
ORPHAN_SECONDS = 2
POLL_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or the terminal was closed."""


class ChildDied(Exception):
    """A child ended by itself."""


@dataclass(frozen=True)
class Child:
    """A process that leads a process group."""

    name: str
    popen: subprocess.Popen[str]
    patience_seconds: float

    def stop(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.terminate()
            self.popen.wait(self.patience_seconds)
        # What is left of its group goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        for pipe in filter(None, (self.popen.stdin, self.popen.stdout)):
            pipe.close()


class Processes:
    """A context whose end stops every child, the youngest first.

    Inside it Ctrl-C, SIGTERM and SIGHUP raise nothing: they end `pause`, and `Stopped` comes
    from there. So a second Ctrl-C can't break into the stopping.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._something_happened = threading.Event()
        self._asked_to_stop = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._ask) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for child in reversed(self._children):
                child.stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def start(
        self,
        name: str,
        program: list[str],
        *,
        env: dict[str, str] | None = None,
        tells: bool = False,
        patience_seconds: float = 10,
    ) -> Child:
        """Start a program.

        Args:
            tells: its standard output is for `first_line`.
            patience_seconds: how long it may take to end before it is killed.
        """
        self.check()
        keeper = [sys.executable, "-IS", str(KEEPER), str(ORPHAN_SECONDS)]
        popen = subprocess.Popen(
            [*keeper, *program],
            env=env,
            stdin=subprocess.PIPE,  # closed by the kernel, at the latest, when we are gone
            stdout=subprocess.PIPE if tells else None,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for us alone: we stop in order
        )
        child = Child(name, popen, patience_seconds)
        self._children.append(child)
        threading.Thread(target=self._watch, args=(popen,), daemon=True).start()
        return child

    def first_line(self, child: Child) -> str:
        """Wait for what a child prints first, and return it; raise as `pause` does."""
        if child.popen.stdout is None:
            raise ValueError(f"{child.name} was not started to tell anything")
        while not select.select([child.popen.stdout], [], [], POLL_SECONDS)[0]:
            self.check()
        line = child.popen.stdout.readline()
        if not line:  # it is ending
            child.popen.wait()
            self.check()
        return line

    def pause(self, seconds: float | None = None) -> None:
        """Wait; for ever by default.

        Raises:
            Stopped: somebody asked for the end.
            ChildDied: a child is gone; the message says which, and how.
        """
        self._something_happened.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise as `pause` does, without waiting."""
        if self._asked_to_stop:
            raise Stopped
        for child in self._children:
            status = child.popen.poll()
            if status is not None:
                how = f"signal {-status}" if status < 0 else f"status {status}"
                raise ChildDied(f"{child.name} ended by itself ({how}).")

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = True
        self._something_happened.set()

    def _watch(self, popen: subprocess.Popen[str]) -> None:
        popen.wait()
        self._something_happened.set()
