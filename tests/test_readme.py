"""The tables of the pages match the code: settings, error codes, close codes."""

import re
from pathlib import Path

from bazis_ws_channels import protocol
from tests import tables
from tests.kit import ROOT

README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()


def section(name):
    """Return what stands between two markers of the protocol page."""
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PROTOCOL, re.S)[1].strip()


def test_settings_table():
    """The settings table is that of the code; `make tables` writes it."""
    assert tables.between(tables.SETTINGS, "settings") == tables.settings_table()


def test_error_codes():
    """The error table names the codes that the package sends, and no others."""
    source = "\n".join(path.read_text() for path in Path(ROOT, "bazis_ws_channels").rglob("*.py"))
    documented = re.findall(r"^\| `(\w+)`", section("errors"), re.M)
    sent = [code for code in documented if f'"{code}"' in source]
    assert sent == documented
    raised = re.findall(
        r'(?:error_frame|fail|_end|Failed|Refused|Refusal|TokenError)\(\s*"(\w+)"', source
    )
    assert set(raised) <= set(documented)


def test_close_codes():
    """The table of close codes has each one that the package sends."""
    sent = {getattr(protocol, name) for name in protocol.__all__ if name.startswith("CLOSE_")}
    codes = re.findall(r"^\| ([\d, ]+) \|", section("closes"), re.M)
    assert {int(code) for cell in codes for code in cell.split(",")} == sent


def test_readme_stays_short():
    """The README fits on two screens or so; the rest belongs to docs/."""
    assert len(README.splitlines()) < 200
