"""(d) What one idle connection costs in memory."""

import time

from tests.benchmarks.processes import rss_kib
from tests.benchmarks.report import Row, at_most
from tests.benchmarks.run import Run, generator

WARM = 100


def settled(server) -> int:
    """Return the RSS once the garbage collector has run."""
    time.sleep(2)
    server.stats(collect=True)
    return rss_kib(server.pid)


def one(run: Run, kind: str, server_name: str) -> dict:
    """Return KiB a connection: the growth from 100 open sockets to 2,100."""
    count = 500 if run.quick else 2000
    with run.server(kind, server_name) as server, generator() as load:
        run.connect(load, server, kind, count=WARM, start=0)
        before = settled(server)
        run.connect(load, server, kind, count=count, start=WARM)
        after = settled(server)
        still_open = load.ask(do="status")["open"]
    if still_open != WARM + count:
        raise RuntimeError(f"{still_open!r} sockets are open instead of {WARM + count!r}")
    result = {"before_kib": before, "after_kib": after, "kib": (after - before) / count}
    run.log(f"  {kind}/{server_name}: {result['kib']:.1f} KiB a connection {result!r}")
    return result


def measure(run: Run) -> list[Row]:
    """Measure daphne with its target and uvicorn for information."""
    found, raw = [], run.raw.setdefault("memory", {})
    for server in ("daphne", "uvicorn"):
        kinds = [k for k in run.kinds if k != "floor" or server == "daphne"]
        results = raw[server] = {kind: one(run, kind, server) for kind in kinds}
        row = Row(
            f"memory of an idle connection, {server}",
            "KiB",
            **{kind: result["kib"] for kind, result in results.items()},
        )
        if "ours" in results and server == "daphne":
            row.targets = [at_most("KiB", results["ours"]["kib"], 45)]
        found.append(row)
    return found
