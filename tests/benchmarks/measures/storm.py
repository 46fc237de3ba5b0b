"""(i) The storm: all clients of one process come back after its restart; and its end by SIGTERM."""

import os
import signal
import time

from tests.benchmarks.processes import Worker, rss_kib
from tests.benchmarks.report import Row, bounded
from tests.benchmarks.run import GREETINGS, Run, percentile

#: name -> clients, seconds of each database round trip, seconds to wait
STORMS = {
    "2,000 clients, a database 10 ms away": (2000, 0.01, 90, 12),
    "10,000 clients": (10_000, 0.0, 180, 40),
}


def storm(run: Run, count: int, away: float, seconds: float, server_name: str) -> dict:
    """Let `count` clients come; a bystander who is there already pings all the while."""
    with (
        run.server("ours", server_name, BENCH_DATABASE_SECONDS=str(away)) as server,
        Worker("crowd") as crowd,
        Worker("bystander") as bystander,
    ):
        paths = run.paths("ours", run.users - 5, 5)
        bystander.ask(port=server.port, paths=paths, greeting=GREETINGS["ours"])
        crowd.tell(
            do="come",
            port=server.port,
            paths=run.paths("ours", 0, count),
            spread=1.0,
            seconds=seconds,
        )
        pings, memory = [], 0
        ends = time.monotonic() + seconds + 5
        come = None
        while come is None and time.monotonic() < ends:
            bystander.tell(seconds=2.0, pause=0.1)
            pings += bystander.answer(150)["times"]
            memory = max(memory, rss_kib(server.pid))
            come = crowd.poll()
        result = {
            "live": come["live"],
            "last": come["times"][-1] if come["times"] else None,
            "tries": come["tries"],
            "codes": come["codes"],
            "errors": come["errors"],
            "ping_p50": percentile(pings, 0.5),
            "ping_p99": percentile(pings, 0.99),
            "memory_mib": memory / 1024,
        }
        if come["live"] == count:
            result["end"] = end(crowd, server, bystander)
        return result


def end(crowd: Worker, server, bystander: Worker) -> dict:
    """Send SIGTERM; return how long until every socket has ended, and with which codes."""
    bystander.stop()
    crowd.tell(do="await_end", seconds=60)
    time.sleep(0.2)
    started = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    answer = crowd.answer(90)
    seconds = time.monotonic() - started
    server.popen.wait(60)
    return {"seconds": seconds, "exit": time.monotonic() - started, **answer}


def measure(run: Run) -> list[Row]:
    """Measure each storm under daphne."""
    rows, raw = [], run.raw.setdefault("storm", {})
    for name, (count, away, seconds, target) in STORMS.items():
        if run.quick:
            count = min(500, count)
        got = raw[name] = storm(run, count, away, seconds, "daphne")
        run.log(f"  {name}: { {k: v for k, v in got.items() if k != 'end'} }")
        whole = got["last"] if got["live"] == count else float("inf")
        rows.append(
            bounded(
                f"all are live, {name}",
                "s",
                whole,
                target,
                f"{got['codes']} {got['errors']}; {got['memory_mib']:.0f} MiB",
            )
        )
        p99 = got["ping_p99"]
        rows.append(bounded(f"a bystander's ping p99, {name}", "ms", p99 * 1e3, 500))
        if "end" in got:
            over = got["end"]
            times = over.pop("times")
            over["last"] = times[-1] if times else None
            run.log(f"  SIGTERM: {over}")
            rows.append(
                bounded(
                    f"SIGTERM until the last socket's close, {name}",
                    "s",
                    over["seconds"],
                    10,
                    f"{over['codes']}",
                )
            )
    return rows
