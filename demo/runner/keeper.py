"""Run a program that must not outlive the demo: ``keeper.py SECONDS PROGRAM...``.

The demo holds our standard input open. When the demo is gone, however it went, the kernel closes
it: then the program gets SIGTERM, and after so many seconds our whole process group is killed.
Otherwise SIGTERM is passed on to the program, and we end as it does.

Run as a file, not as a module: nothing of the project is imported.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    patience_seconds, program = float(sys.argv[1]), sys.argv[2:]
    is_orphaned = threading.Event()
    child = subprocess.Popen(program, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())

    def watch() -> None:
        os.read(0, 1)
        is_orphaned.set()
        child.terminate()
        threading.Timer(patience_seconds, kill_group).start()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    if is_orphaned.is_set():
        kill_group()
    if status < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def kill_group() -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
