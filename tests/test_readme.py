"""The README holds what it says."""

import re
from datetime import timedelta
from pathlib import Path

from django.test import override_settings

from bazis_ws_channels.conf import Settings, conf
from tests.kit import ROOT

README = (ROOT / "README.md").read_text()


def _default(name):
    with override_settings():
        from django.conf import settings

        if hasattr(settings, name):
            delattr(settings, name)
        return getattr(conf, name)


def _shown(value):
    if isinstance(value, timedelta):
        return str(value)
    return f"`{value!r}`".replace("'", '"')


def settings_table():
    """Return the settings table that the code asks for."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, prop in Settings.properties().items():
        meaning = re.sub(r"\s+", " ", prop.fget.__doc__).strip()
        rows.append(f"| `{name}` | {_shown(_default(name))} | {meaning} |")
    return "\n".join(rows)


def section(name):
    """Return what stands between two markers."""
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.S)[1].strip()


def test_settings_table():
    """The settings table is that of the code."""
    assert section("settings") == settings_table()


def test_error_codes():
    """The error table names the codes that the package sends, and no others."""
    source = "\n".join(path.read_text() for path in Path(ROOT, "bazis_ws_channels").rglob("*.py"))
    documented = re.findall(r"^\| `(\w+)`", section("errors"), re.M)
    sent = [code for code in documented if f'"{code}"' in source]
    assert sent == documented
    raised = re.findall(r'(?:error_frame|fail|_end|Failed|Refused|TokenError)\(\s*"(\w+)"', source)
    assert set(raised) <= set(documented)
