"""Become another program that ends when its parent does: ``tied.py PARENT SIGNAL PROGRAM...``.

Run as a file, not as a module: nothing of the project is imported. Linux only; elsewhere the
program just runs.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, number, *program = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)  # survives the exec
        if os.getppid() != int(parent):
            sys.exit("the parent is gone already")
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
