"""Child processes that live and end together, and never outlive this one."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["ChildDied", "Processes", "Stopped"]

TIED = Path(__file__).with_name("tied.py")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or the terminal was closed."""


class ChildDied(Exception):
    """A child ended by itself."""


@dataclass(frozen=True)
class Child:
    name: str
    popen: subprocess.Popen[str]
    patience_seconds: float

    def stop(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.terminate()
            self.popen.wait(self.patience_seconds)
        # Each child leads a process group; what is left of the group goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


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
        stdin: str | None = None,
        quiet: bool = False,
        patience_seconds: float = 10,
        death_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start a program.

        Args:
            stdin: what it reads; nothing by default.
            quiet: drop its standard output, but not its errors.
            patience_seconds: how long it may take to end before it is killed.
            death_signal: what it gets when this process dies without a chance to stop it.
        """
        self.check()
        tied = [sys.executable, "-IS", str(TIED), str(os.getpid()), str(int(death_signal))]
        popen = subprocess.Popen(
            [*tied, *program],
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL if quiet else None,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for us alone: we stop in order
        )
        self._children.append(Child(name, popen, patience_seconds))
        threading.Thread(target=self._watch, args=(popen,), daemon=True).start()
        if stdin is not None and popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError), popen.stdin:
                popen.stdin.write(stdin)

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
