"""(f) Redis commands in a minute for idle connections of one process."""

import time

from tests.benchmarks import valkey
from tests.benchmarks.report import Row, at_most
from tests.benchmarks.run import Run, generator

SIZES = (0, 100, 1000, 5000)
# ours: the lease model. stock: presence as bazis-ws keeps it, a SET for each connection.
PATHS = {"ours": "/ws", "stock": "/ws-presence"}


def window(run: Run, seconds: float) -> dict:
    """Watch one window of an idle process and scale what was seen to a minute."""
    with valkey.Watch(run.redis_url) as commands:
        time.sleep(seconds)
    scale = 60 / seconds
    return {
        "window_seconds": seconds,
        "sent_a_minute": commands.total_sent * scale,
        "inside_scripts_a_minute": commands.total_inside * scale,
        "sent": commands.sent,
        "inside_scripts": commands.inside,
    }


def grow(run: Run, server, load, kind: str, size: int) -> None:
    """Open sockets until `size` are open.

    Several tries, for stock: with thousands of presence tasks its event loop is now and then late
    enough for daphne's handshake timeout of 5 seconds.
    """
    for _ in range(6):
        opened = load.ask(do="status")["open"]
        if opened == size:
            return
        missing, path = size - opened, PATHS[kind]
        run.connect(
            load, server, kind, count=missing, start=opened, path=path, concurrency=20, strict=False
        )
    raise RuntimeError(f"{kind!r} opened {opened!r} sockets instead of {size!r}")


def one(run: Run, kind: str, sizes) -> dict[int, dict]:
    """Grow one server's idle connections and watch at each size."""
    seconds, results = (10 if run.quick else 20), {}
    with run.server(kind) as server, generator() as load:
        for size in sizes:
            grow(run, server, load, kind, size)
            time.sleep(6)  # one whole period: what the connecting itself cost is over
            results[size] = window(run, seconds)
            open_now = load.ask(do="status")["open"]
            results[size]["open"] = open_now
            if kind == "ours" and open_now != size:
                raise RuntimeError(f"{open_now!r} sockets are open instead of {size!r}")
            run.log(f"  {kind} {size}: {results[size]!r}")
    return results


def measure(run: Run) -> list[Row]:
    """Measure the lease model beside the per-connection model, in the same run."""
    sizes = tuple(size for size in SIZES if size <= run.users)
    results = run.raw["presence"] = {}
    for kind in ("ours", "stock"):
        if kind in run.kinds:
            results[kind] = one(run, kind, sizes)
    found = []
    for size in sizes:
        sent = {kind: result[size]["sent_a_minute"] for kind, result in results.items()}
        row = Row(
            f"Redis commands a minute, {size:,} idle connections",
            "sent",
            **sent,
            note="stock: one SET a connection every 5 s",
        )
        if "ours" in sent:
            row.targets = [at_most("commands", sent["ours"], 30)]
            inside = results["ours"][size]["inside_scripts_a_minute"]
            row.note += f"; ours calls {inside:g} more inside scripts"
        found.append(row)
    return found
