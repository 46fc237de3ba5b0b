"""Sum up py-spy's raw profiles: `python -m tests.benchmarks.hotspots FILE.raw ...`."""

import collections
import re
import sys
from pathlib import Path

SHOWN = 30
FRAME = re.compile(r"^(?P<function>.+) \((?P<file>.+?)(?::\d+)?\)$")


def name(frame: str) -> str:
    """Return a frame without its line number, so that a function's lines are one."""
    found = FRAME.match(frame)
    return f"{found['function']} ({found['file']})" if found else frame


def sums(text: str) -> tuple[collections.Counter, collections.Counter, int]:
    """Return samples by function: its own, and those with everything it called."""
    own, inclusive, total = collections.Counter(), collections.Counter(), 0
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [name(frame) for frame in stack.split(";")]
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    return own, inclusive, total


def main() -> None:
    """Print the top functions of each file."""
    for path in map(Path, sys.argv[1:]):
        own, inclusive, total = sums(path.read_text())
        print(f"{path.name}: {total} samples")
        for title, counter in (("self", own), ("with callees", inclusive)):
            print(f"  {title}")
            for function, count in counter.most_common(SHOWN):
                print(f"    {count / total:6.1%}  {function}")


if __name__ == "__main__":
    main()
