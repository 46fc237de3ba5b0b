"""The load generator's own limit: how many frames a second it can count at all."""

import time

from tests.benchmarks.measures.broadcast import REST_SECONDS
from tests.benchmarks.report import Row
from tests.benchmarks.run import Run, generator

SOCKETS, COPIES, MESSAGES = 500, 50, 100


def measure(run: Run) -> list[Row]:
    """Let the floor write 50 frames at once to each socket: then the generator is the slower."""
    results = []
    with (
        run.server("floor", BENCH_COPIES=str(COPIES)) as server,
        generator() as load,
        run.publisher("floor") as publisher,
    ):
        run.connect(load, server, "floor", count=SOCKETS)
        time.sleep(0.5)
        for _ in range(3):
            frames = COPIES * MESSAGES
            load.ask(do="expect", frames=frames, timeout_seconds=60, rest=REST_SECONDS)
            sent = publisher.ask(call="broadcast", count=MESSAGES)
            got = load.answer()
            results.append(
                {
                    "rate": got["received"] / (got["last"] - sent["start"]),
                    "exact": got["exact"],
                    "generator_cpu_share": got["cpu"] / got["wall"],
                }
            )
    run.raw["limit"] = results
    best = max(result["rate"] for result in results)
    note = "the generator's own limit: every burst below must stay well under it"
    return [Row("frames the load generator can count", "frames/s", floor=best, note=note)]
