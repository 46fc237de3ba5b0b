"""(b) Publishing from sync code in a plain process."""

import contextlib

from tests.benchmarks import valkey
from tests.benchmarks.processes import on_one_core
from tests.benchmarks.report import Row, at_least, at_most
from tests.benchmarks.run import Run

BASE = {"floor": "broadcast", "stock": "user", "ours": "user"}


def timed(publisher, call: str, count: int) -> tuple[float, float]:
    """Return the seconds that one call takes, and how many of them the process computes."""
    result = publisher.ask(call=call, count=count)
    return (result["end"] - result["start"]) / count, result["cpu"] / count


def measure(run: Run) -> list[Row]:
    """Time the calls in turns, so that a busy moment of the machine meets all of them, on the
    core of Redis.
    """
    count, repeats = (50, 15) if run.quick else (100, 50)
    raw = run.raw["publish"] = {kind: {"seconds": [], "cpu": [], "opened": 0} for kind in run.kinds}
    many = run.raw["publish to many"] = {"one call": [], "1,000 calls": [], "turns": []}
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(valkey.client(run.redis_url))
        publishers = {kind: stack.enter_context(run.publisher(kind)) for kind in run.kinds}
        redis_pid = admin.info("server")["process_id"]
        pids = [redis_pid, *(publisher.pid for publisher in publishers.values())]
        stack.enter_context(on_one_core(pids))
        for kind, publisher in publishers.items():
            publisher.ask(call=BASE[kind], count=1)
        for number in range(repeats):
            for kind, publisher in publishers.items():
                before = valkey.connections_received(admin)
                seconds, cpu = timed(publisher, BASE[kind], count)
                raw[kind]["seconds"].append(seconds)
                raw[kind]["cpu"].append(cpu)
                raw[kind]["opened"] += valkey.connections_received(admin) - before
            if "ours" in publishers and number % 5 == 0:
                many["one call"].append(timed(publishers["ours"], "thousand", 3)[0])
                many["1,000 calls"].append(timed(publishers["ours"], "thousand_each", 1)[0])
        if "ours" in publishers:
            many["turns"].append(publishers["ours"].ask(call="longest_turn")["seconds"])
    return rows(raw, count * repeats) + (rows_of_many(many) if "ours" in run.kinds else [])


def rows(raw: dict[str, dict], calls: int) -> list[Row]:
    """Make the rows of single calls; a call's time is the least of the repeats, to which the
    machine's other work has added nothing.
    """
    micros = {kind: min(result["seconds"]) * 1e6 for kind, result in raw.items()}
    cpu = {kind: min(result["cpu"]) * 1e6 for kind, result in raw.items()}
    opened = {kind: result["opened"] for kind, result in raw.items()}
    per_call = Row("publish to a user from sync code", "µs/call", **micros)
    rate = Row("the same", "calls/s", **{kind: 1e6 / value for kind, value in micros.items()})
    cpu_row = Row("the same, CPU of the caller's process", "µs/call", **cpu)
    connections = Row(f"Redis connections opened by {calls:,} calls", "", **opened)
    if len(micros) == 3:
        rate.targets = [at_least("x stock", micros["stock"] / micros["ours"], 15)]
        per_call.targets = [at_most("x bare publish", micros["ours"] / micros["floor"], 3)]
    if "ours" in micros:
        connections.targets = [at_most("connections anew", opened["ours"], 0)]
    return [per_call, rate, cpu_row, connections]


def rows_of_many(many: dict[str, list[float]]) -> list[Row]:
    """Make the rows of 1,000 users, and of 100,000 from async code."""
    one, each = min(many["one call"]), min(many["1,000 calls"])
    turn_ms = max(many["turns"]) * 1e3
    turn = Row("apublish to 100,000 users, longest turn of the event loop", "ms CPU", ours=turn_ms)
    turn.targets = [at_most("ms", turn_ms, 50)]
    row = Row("publish to 1,000 users in one call", "ms", ours=one * 1e3)
    row.targets = [at_least("x faster than 1,000 calls", each / one, 10)]
    return [Row("publish to 1,000 users by 1,000 calls", "ms", ours=each * 1e3), row, turn]
