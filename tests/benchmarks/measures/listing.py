"""(g) A DRF list of users with and without `is_online`."""

import time

from tests.benchmarks import valkey
from tests.benchmarks.processes import Worker
from tests.benchmarks.report import Row, at_most
from tests.benchmarks.run import Run, generator, median

SIZES = (100, 1000)
ONLINE = 60  # of the first hundred, so that the answer is neither all nor nobody


def measure(run: Run) -> list[Row]:
    """Ask a list in a plain process while a server holds some users online."""
    if "ours" not in run.kinds:
        return []
    repeats, raw, found = (5 if run.quick else 30), run.raw.setdefault("listing", {}), []
    with (
        run.server("ours") as server,
        generator() as load,
        Worker("ours.listing", run.environment("ours")) as lister,
    ):
        run.connect(load, server, "ours", count=ONLINE)
        time.sleep(1)
        for size in SIZES:
            results = raw[size] = {}
            for name in ("plain", "online"):
                lister.ask(view=name, size=size, count=2)
                results[name] = lister.ask(view=name, size=size, count=repeats)
                with valkey.Watch(run.redis_url) as commands:
                    lister.ask(view=name, size=size, count=10)
                results[name]["redis_sent"] = commands.sent
                results[name]["redis_commands"] = commands.total_sent / 10
            run.log(f"  list of {size}: {results!r}")
            found += rows(size, results)
    return found


def rows(size: int, results: dict) -> list[Row]:
    """Make the rows of one page size."""
    plain, online = (median(results[name]["seconds"]) * 1e3 for name in ("plain", "online"))
    shown = results["online"]["online"]
    # The server beside it renews its lease a few times in the window: less than half a command
    # for each request, so rounding leaves what the list itself asked.
    extra = round(results["online"]["redis_commands"] - results["plain"]["redis_commands"])
    trips = Row(f"DRF list of {size:,} users, more Redis commands", "", ours=extra)
    trips.targets = [at_most("more", extra, 1)]
    return [
        Row(f"DRF list of {size:,} users, without is_online", "ms", ours=plain),
        Row(
            f"DRF list of {size:,} users, with is_online",
            "ms",
            ours=online,
            note=f"+{online - plain:.2f} ms; {shown} shown online of {ONLINE}",
        ),
        trips,
    ]
