"""(i) What it costs to look again at idle sessions: queries, Redis commands, processor."""

import time

from tests.benchmarks import valkey
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.report import Row, at_most
from tests.benchmarks.run import Run, generator

PERIOD_SECONDS = 60


def window(run: Run, server, seconds: float) -> dict:
    """Watch an idle process, and scale what was seen to a minute."""
    before, cpu = server.stats()["queries"], cpu_seconds(server.pid)
    with valkey.Watch(run.redis_url) as commands:
        time.sleep(seconds)
    scale = 60 / seconds
    return {
        "queries_a_minute": (server.stats()["queries"] - before) * scale,
        "commands_a_minute": commands.total_sent * scale,
        "cpu_ms_a_minute": (cpu_seconds(server.pid) - cpu) * 1000 * scale,
    }


def one(run: Run, size: int, period: float, **settings: str) -> dict:
    """Open `size` sockets of as many users and watch for whole periods."""
    settings["BENCH_REAUTHORIZE_SECONDS"] = str(period)
    with run.server("ours", **settings) as server, generator() as load:
        run.connect(load, server, "ours", count=size, concurrency=20)
        time.sleep(6)  # what the connecting itself cost is over
        result = window(run, server, PERIOD_SECONDS)
        if load.ask(do="status")["open"] != size:
            raise RuntimeError("some sockets have closed")
    run.log(f"  {size} sockets, {settings}: {result!r}")
    return result


def measure(run: Run) -> list[Row]:
    """Measure 5,000 idle sessions: with the default period, with none to speak of, and where each
    connection looks by itself.
    """
    size = min(5000, run.users)
    results = run.raw["reauthorize"] = {
        "with": one(run, size, PERIOD_SECONDS),
        "without": one(run, size, 24 * 3600),
        "naive": one(run, size, 24 * 3600, BENCH_NAIVE_SECONDS=str(PERIOD_SECONDS)),
    }
    found = []
    for name, unit, most in (
        ("queries_a_minute", "queries", 10),
        ("commands_a_minute", "commands", 32),
        ("cpu_ms_a_minute", "ms", None),
    ):
        value, without = results["with"][name], results["without"][name]
        row = Row(
            f"{name.replace('_', ' ')}, {size:,} idle sessions looked at each minute",
            unit,
            stock=results["naive"][name],
            ours=value,
            note=f"{without:.1f} when nobody looks",
        )
        if most is not None:
            row.targets = [at_most(unit, value, most)]
        found.append(row)
    return found
