"""Run the benchmarks: `python -m tests.benchmarks [--quick] [--only NAME]...`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import report, valkey
from tests.benchmarks.measures import (
    broadcast,
    connect,
    limit,
    listing,
    memory,
    ping,
    presence,
    publish,
    reauthorize,
)
from tests.benchmarks.processes import raise_file_limit
from tests.benchmarks.run import KINDS, Run

MEASURES = {
    "limit": limit,
    "broadcast": broadcast,
    "publish": publish,
    "connect": connect,
    "memory": memory,
    "ping": ping,
    "presence": presence,
    "listing": listing,
    "reauthorize": reauthorize,
}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=MEASURES, help="may be repeated")
    parser.add_argument("--kind", action="append", choices=KINDS, help="may be repeated")
    parser.add_argument("--sizes", type=int, nargs="+", help="sockets of a broadcast")
    parser.add_argument("--quick", action="store_true", help="small and short: a smoke test")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--json", type=Path, help="default: benchmarks.json in a temporary folder")
    parser.add_argument("--profile", type=Path, help="folder for py-spy profiles of our server")
    return parser.parse_args()


def execute(options: argparse.Namespace, run: Run) -> list[report.Row]:
    """Run the chosen measurements; one that fails does not take the others' figures along."""
    rows = []
    for name in options.only or MEASURES:
        started = time.monotonic()
        run.log(f"{name} …")
        try:
            rows += MEASURES[name].measure(run)
        except Exception as error:
            if options.strict:
                raise
            run.log(f"  FAILED: {error!r}")
            rows.append(
                report.Row(name, "", targets=[report.Target("measured", float("nan"), False)])
            )
            run.raw.setdefault(name, {})["error"] = repr(error)
        run.log(f"  {time.monotonic() - started:.0f} s")
    return rows


def main() -> int:
    """Do it all and return the exit code."""
    options = arguments()
    # Both ways of stopping unwind the `with` blocks, which end the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_file_limit()
    load = os.getloadavg()[0]
    sizes = tuple(options.sizes or ((100, 500) if options.quick else (100, 500, 2000)))
    with valkey.server() as url, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if options.profile:
            options.profile.mkdir(parents=True, exist_ok=True)
        run = Run(
            redis_url=url,
            folder=Path(folder),
            users=1100 if options.quick else 5100,
            kinds=tuple(options.kind or KINDS),
            quick=options.quick,
            sizes=sizes,
            profile=options.profile,
        )
        run.prepare()
        rows = execute(options, run)
    path = options.json or Path(tempfile.gettempdir()) / "benchmarks.json"
    report.write_json(path, rows, run.raw, load)
    report.print_table(rows)
    missed = report.missed(rows)
    print(f"\n{len(missed)} targets missed. Load at start {load:.1f}. Figures: {path}")
    return 1 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
