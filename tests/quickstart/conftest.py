"""The wheel, the browser, and the table of the stop-watch."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import ROOT
from tests.kit.browser import chromium

_TABLES = []


@pytest.fixture(scope="session")
def constraint(tmp_path_factory):
    """A pip constraints file: this package is the wheel of this tree, whatever an index has."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "bazis_ws_channels", source / "bazis_ws_channels")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source]
    subprocess.run(build, check=True)
    (wheel,) = Path(folder).glob("*.whl")
    constraint = folder / "constraint.txt"
    constraint.write_text(f"bazis-ws-channels @ {wheel.as_uri()}\n")
    return constraint


@pytest.fixture(scope="session")
def browser():
    """A browser for all tests: Playwright's sync API occupies the thread's event loop."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def stop_watch():
    """Write down what a newcomer has done up to now, for the table at the end."""

    def stop(way, newcomer):
        total = sum(seconds for _, seconds in newcomer.seconds)
        numbers = f"{len(newcomer.commands)} commands, {len(newcomer.files)} files"
        _TABLES.append((way, [*newcomer.seconds, (f"in all: {numbers}", total)]))
        return total

    return stop


def pytest_terminal_summary(terminalreporter):
    """Show the seconds of each step."""
    for way, rows in _TABLES:
        terminalreporter.section(way)
        for what, seconds in rows:
            terminalreporter.line(f"{seconds:7.1f} s  {what}")
