"""(a) Broadcast to many sockets: the last recipient's latency, and deliveries a second."""

import time

from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.report import Row, at_least, at_most
from tests.benchmarks.run import Run, generator, median

BURST_SECONDS = 3.0
PACED_SECONDS = 15.0
REST_SECONDS = 0.005  # of the generator between two reads in a burst


def paced(run: Run, load, publisher, rounds: int) -> list[float]:
    """Publish one message at a time, each after all sockets got the one before."""
    times, end = [], time.monotonic() + PACED_SECONDS
    while len(times) < rounds and (time.monotonic() < end or len(times) < 5):
        load.ask(do="expect", frames=1, timeout_seconds=60)
        sent = publisher.ask(call="broadcast", count=1)
        got = load.answer()
        if not got["exact"]:
            raise RuntimeError(f"a broadcast was lost or doubled: {got!r}")
        times.append(got["last"] - sent["start"])
        time.sleep(0.05)
    return times[2:]


def burst(server, load, publisher, messages: int) -> dict:
    """Publish many messages as fast as one process can; wait for all of them everywhere."""
    load.ask(do="expect", frames=messages, timeout_seconds=120, rest=REST_SECONDS)
    cpu = cpu_seconds(server.pid)
    sent = publisher.ask(call="broadcast", count=messages)
    got = load.answer(150)
    wall = got["last"] - sent["start"]
    cpu = cpu_seconds(server.pid) - cpu
    return {
        "messages": messages,
        "rate": got["received"] / wall,
        "server_cpu_us": cpu / got["received"] * 1e6,
        "exact": got["exact"],
        "lost_sockets": got["lost"],
        "seconds": wall,
        "publish_seconds": sent["end"] - sent["start"],
        "server_cpu_share": cpu / wall,
        "generator_cpu_share": got["cpu"] / got["wall"],
    }


def one(run: Run, kind: str, server_name: str, size: int) -> dict:
    """Measure one server at one number of sockets."""
    repeats, rounds = (2, 10) if run.quick else (5, 60)
    with (
        run.server(kind, server_name) as server,
        generator() as load,
        run.publisher(kind) as publisher,
    ):
        run.connect(load, server, kind, count=size)
        time.sleep(1)
        times = paced(run, load, publisher, rounds)
        trial = burst(server, load, publisher, 10)
        messages = max(10, min(5000, int(trial["rate"] * BURST_SECONDS / size)))
        with run.profiled(server, kind, f"burst-{server_name}-{size}"):
            bursts = [burst(server, load, publisher, messages) for _ in range(repeats)]
    best = max(bursts, key=lambda result: result["rate"])
    result = {"paced_ms": median(times) * 1000, "paced_all": times, "bursts": bursts, **best}
    run.log(
        f"  {kind}/{server_name} {size}: last recipient {result['paced_ms']:.1f} ms, "
        f"{best['rate']:,.0f} deliveries/s, generator at {best['generator_cpu_share']:.0%}, "
        f"server at {best['server_cpu_share']:.0%}" + ("" if best["exact"] else " NOT EXACT")
    )
    return result


def rows(size: int, server: str, results: dict[str, dict]) -> list[Row]:
    """Make the rows of one size."""
    latency = {kind: result["paced_ms"] for kind, result in results.items()}
    rate = {kind: result["rate"] for kind, result in results.items()}
    shares = ", ".join(f"{k} {r['generator_cpu_share']:.0%}" for k, r in results.items())
    cpu = {
        kind: median([burst["server_cpu_us"] for burst in result["bursts"]])
        for kind, result in results.items()
    }
    paced_row = Row(f"broadcast to {size}, last recipient, {server}", "ms", **latency)
    cpu_row = Row(f"broadcast to {size}, server's CPU of a delivery, {server}", "µs", **cpu)
    burst_row = Row(
        f"broadcast to {size}, burst, {server}", "deliveries/s", **rate, note=f"generator: {shares}"
    )
    if size == 500 and server == "daphne" and len(results) == 3:
        burst_row.targets = [
            at_least("x stock", rate["ours"] / rate["stock"], 8),
            at_least("x floor", rate["ours"] / rate["floor"], 0.55),
        ]
        paced_row.targets = [
            at_most("x stock", latency["ours"] / latency["stock"], 1 / 3),
            at_most("x floor", latency["ours"] / latency["floor"], 2),
        ]
    return [paced_row, burst_row, cpu_row]


def measure(run: Run) -> list[Row]:
    """Measure all sizes under daphne, and 500 sockets under uvicorn for information."""
    found, raw = [], run.raw.setdefault("broadcast", {})
    plan = [("daphne", size) for size in run.sizes]
    plan += [("uvicorn", size) for size in run.sizes if size == 500]
    floors = {}
    for server, size in plan:
        results = {}
        for kind in run.kinds:
            if kind == "floor" and size in floors:
                results[kind] = floors[size]
                continue
            results[kind] = one(run, kind, server, size)
            if kind == "floor":
                floors[size] = results[kind]
        raw[f"{server}-{size}"] = results
        found += rows(size, server, results)
    return found
