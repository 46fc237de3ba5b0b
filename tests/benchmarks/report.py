"""The rows of the table, the targets, and how both are printed and kept."""

import dataclasses
import json
import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["Row", "Target", "at_least", "at_most", "missed", "print_table", "write_json"]

PACKAGES = ["django", "channels", "channels-redis", "daphne", "uvicorn", "redis", "hiredis"]


@dataclasses.dataclass
class Target:
    """One promise about a figure, and how far it was kept."""

    text: str
    actual: float
    passed: bool

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'MISS'} {number(self.actual)} ({self.text})"


@dataclasses.dataclass
class Row:
    """One figure of floor, stock and ours."""

    figure: str
    unit: str
    floor: float | None = None
    stock: float | None = None
    ours: float | None = None
    targets: list[Target] = dataclasses.field(default_factory=list)
    note: str = ""


def at_least(text: str, actual: float, bound: float) -> Target:
    """Return a target that a value must reach."""
    return Target(f"{text} >= {bound:g}", actual, actual >= bound)


def at_most(text: str, actual: float, bound: float) -> Target:
    """Return a target that a value must not pass."""
    return Target(f"{text} <= {bound:g}", actual, actual <= bound)


def bounded(figure: str, unit: str, actual: float, bound: float, note: str = "") -> Row:
    """Return a row of ours alone, which must not pass a bound."""
    return Row(figure, unit, ours=actual, targets=[at_most(unit, actual, bound)], note=note)


def number(value: float | None) -> str:
    """Return a value with three significant digits, as a person reads it."""
    if value is None:
        return "-"
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def cells(row: Row) -> list[str]:
    """Return one table line's cells."""
    values = [number(value) for value in (row.floor, row.stock, row.ours)]
    targets = "; ".join(map(str, row.targets))
    return [row.figure, row.unit, *values, " · ".join(filter(None, [targets, row.note]))]


def print_table(rows: list[Row]) -> None:
    """Print all rows, aligned."""
    lines = [["figure", "unit", "floor", "stock", "ours", "ratio (target) · note"]]
    lines += [cells(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    for index, line in enumerate(lines):
        left = [line[i].ljust(widths[i]) for i in range(2)]
        right = [line[i].rjust(widths[i]) for i in range(2, 5)]
        print("  ".join([*left, *right, line[5]]).rstrip())
        if index == 0:
            print("-" * (sum(widths) + 40))


def missed(rows: list[Row]) -> list[Target]:
    """Return the targets that were not reached."""
    return [target for row in rows for target in row.targets if not target.passed]


def environment() -> dict:
    """Return what a reader needs to compare two files."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": versions,
    }


def write_json(path: Path, rows: list[Row], raw: dict, started_load: float) -> None:
    """Keep the table and every single measurement."""
    document = {
        "environment": {**environment(), "load_at_start": started_load},
        "rows": [dataclasses.asdict(row) for row in rows],
        "raw": raw,
    }
    path.write_text(json.dumps(document, indent=1, default=str) + "\n")
