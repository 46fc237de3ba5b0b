"""(c) Connects a second with authentication, and the database queries that each one costs."""

import time

from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.report import Row, at_least, at_most
from tests.benchmarks.run import Run, generator, median, percentile

CONCURRENCY = 50
BAZIS_WS = 150  # connects a second of bazis-ws 2.2.1, from issue 4


def storm(run: Run, kind: str, server_name: str) -> list[dict]:
    """Connect many users to a fresh server, several times; warm up first."""
    count, repeats = (300, 2) if run.quick else (1000, 4)
    results = []
    with run.server(kind, server_name) as server, generator() as load:
        run.connect(load, server, kind, count=50, start=run.users - 50)
        for index in range(repeats):
            queries, cpu = server.stats()["queries"], cpu_seconds(server.pid)
            with run.profiled(server, kind, f"connect-{server_name}-{index}"):
                got = run.connect(
                    load,
                    server,
                    kind,
                    count=count,
                    start=(index * count) % (run.users - 50),
                    concurrency=CONCURRENCY,
                )
            results.append(
                {
                    "rate": got["opened"] / got["seconds"],
                    "p50_ms": median(got["times"]) * 1e3,
                    "p99_ms": percentile(got["times"], 0.99) * 1e3,
                    "queries": (server.stats()["queries"] - queries) / count,
                    "server_cpu_ms": (cpu_seconds(server.pid) - cpu) / got["opened"] * 1e3,
                    "generator_cpu_share": got["cpu"] / got["seconds"],
                }
            )
            load.ask(do="close")
            time.sleep(3)
    best = max(results, key=lambda result: result["rate"])
    run.log(
        f"  {kind}/{server_name}: {best['rate']:,.0f} connects/s, p99 {best['p99_ms']:.0f} ms, "
        f"{best['server_cpu_ms']:.2f} ms of the server's CPU each"
    )
    return results


def measure(run: Run) -> list[Row]:
    """Measure daphne with targets and uvicorn for information."""
    found, raw = [], run.raw.setdefault("connect", {})
    for server in ("daphne", "uvicorn"):
        kinds = [k for k in run.kinds if k != "floor" or server == "daphne"]
        results = {kind: storm(run, kind, server) for kind in kinds}
        raw[server] = results
        best = {k: max(r, key=lambda x: x["rate"]) for k, r in results.items()}
        rate = Row(
            f"authenticated connects, {server}",
            "connects/s",
            **{kind: result["rate"] for kind, result in best.items()},
            note="generator: "
            + ", ".join(f"{k} {r['generator_cpu_share']:.0%}" for k, r in best.items()),
        )
        queries = Row(
            f"database queries of a connect, {server}",
            "",
            **{kind: r["queries"] for kind, r in best.items() if kind != "floor"},
        )
        if "ours" in best and server == "daphne":
            rate.targets = [at_least("x bazis-ws's 150", best["ours"]["rate"] / BAZIS_WS, 3)]
            queries.targets = [at_most("queries", best["ours"]["queries"], 1)]
        cpu = Row(
            f"server's CPU of a connect, {server}",
            "ms",
            **{k: median([one["server_cpu_ms"] for one in r]) for k, r in results.items()},
        )
        found += [rate, cpu, queries]
    return found
