"""(e) A bystander's ping round trip while a storm of broadcasts goes over the same server."""

import time

from tests.benchmarks.processes import Worker, cpu_seconds
from tests.benchmarks.report import Row, at_most
from tests.benchmarks.run import GREETINGS, Run, generator, median, percentile

SOCKETS = 500
BYSTANDERS = 8
PAUSE_SECONDS = 0.15  # between two pings of one socket: about 50 a second on all 8
RATES = {"storm": 20, "moderate": 3}  # broadcasts a second: stock can't keep up with the first


def one(run: Run, kind: str, rate: float) -> dict:
    """Measure one server under one rate of broadcasts."""
    seconds = 6 if run.quick else 20
    paths = run.paths(kind, SOCKETS, BYSTANDERS)
    with (
        run.server(kind) as server,
        generator() as load,
        run.publisher(kind) as publisher,
        Worker("bystander") as bystander,
    ):
        run.connect(load, server, kind, count=SOCKETS)
        bystander.ask(port=server.port, paths=paths, greeting=GREETINGS[kind])
        time.sleep(1)
        quiet = bystander.ask(seconds=2, pause=PAUSE_SECONDS)["times"]
        messages = int(rate * (seconds + 1))
        load.ask(do="expect", frames=messages, timeout_seconds=60)
        cpu, started = cpu_seconds(server.pid), time.monotonic()
        publisher.tell(call="broadcast", count=messages, rate=rate)
        times = bystander.ask(seconds=seconds, pause=PAUSE_SECONDS)["times"]
        share = (cpu_seconds(server.pid) - cpu) / (time.monotonic() - started)
        publisher.answer()
        got = load.answer(150)
    result = {
        "quiet_p50_ms": median(quiet) * 1e3,
        "p50_ms": median(times) * 1e3,
        "p99_ms": percentile(times, 0.99) * 1e3,
        "max_ms": max(times) * 1e3,
        "samples": len(times),
        "server_cpu_share": share,
        "generator_cpu_share": got["cpu"] / got["wall"],
        "storm_delivered": got["received"],
        "storm_exact": got["exact"],
    }
    run.log(f"  {kind} at {rate}/s: {result!r}")
    return result


def measure(run: Run) -> list[Row]:
    """Measure ours beside stock; the floor answers no pings."""
    found, raw = [], run.raw.setdefault("ping", {})
    kinds = [kind for kind in run.kinds if kind != "floor"]
    for name, rate in RATES.items():
        results = raw[name] = {kind: one(run, kind, rate) for kind in kinds}
        label = f"bystander's ping, {rate} broadcasts/s to {SOCKETS}"
        median_row = Row(f"{label}, p50", "ms", **{k: r["p50_ms"] for k, r in results.items()})
        row = Row(f"{label}, p99", "ms", **{k: r["p99_ms"] for k, r in results.items()})
        if len(results) == 2:
            ratio = results["ours"]["p99_ms"] / results["stock"]["p99_ms"]
            row.targets = [at_most("x stock", ratio, 1 / 3)]
        found += [median_row, row]
    return found
