"""Tables of docs/ that come from the code: `python -m tests.tables` writes them.

The settings table is the code's, word for word. The table of modules keeps its rows; a module that
has none gets one with the first line of its docstring, to be put into better words. The last
column of the table "before and after" is measured anew.
"""

import ast
import re
import sys
from datetime import timedelta

from tests.kit import ROOT

PACKAGE = ROOT / "bazis_ws_channels"
SETTINGS = ROOT / "docs/settings.md"
ARCHITECTURE = ROOT / "docs/architecture.md"


def between(page, name):
    """Return what stands between two markers of a page."""
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page.read_text(), re.S)[1].strip()


def write_between(page, name, text):
    """Put a text between two markers of a page."""
    marked = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
    pattern = rf"<!-- {name} -->\n.*?<!-- /{name} -->"
    page.write_text(re.sub(pattern, lambda _: marked, page.read_text(), flags=re.S))


# --- settings -------------------------------------------------------------------------------


def settings_table():
    """Return the settings table that the code asks for."""
    from bazis_ws_channels.conf import Settings

    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, prop in Settings.properties().items():
        meaning = re.sub(r"\s+", " ", prop.fget.__doc__).strip()
        rows.append(f"| `{name}` | {_shown(_default(name))} | {meaning} |")
    return "\n".join(rows)


def _default(name):
    from django.conf import settings
    from django.test import override_settings

    from bazis_ws_channels.conf import conf

    with override_settings():
        if hasattr(settings, name):
            delattr(settings, name)
        return getattr(conf, name)


def _shown(value):
    if isinstance(value, timedelta):
        return str(value)
    return f"`{value!r}`".replace("'", '"')


# --- modules --------------------------------------------------------------------------------


def modules():
    """Return the package's modules, those of the top level first."""
    names = [
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and "management" not in path.parts
    ]
    return sorted(names, key=lambda name: name.rpartition("/")[::2])


def modules_table():
    """Return the table of modules, with a row for each."""
    known = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", between(ARCHITECTURE, "modules"), re.M))
    rows = ["| module | decides |", "| --- | --- |"]
    return "\n".join(
        rows + [f"| `{name}` | {known.get(name) or _line(name)} |" for name in modules()]
    )


def _line(name):
    docstring = ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text())) or "?"
    return docstring.splitlines()[0].rstrip(".")


# --- before and after -----------------------------------------------------------------------


def shape_table():
    """Return the table "before and after", its last column measured now."""
    from tests.benchmarks.shape import measure

    now = measure(PACKAGE)
    rows = between(ARCHITECTURE, "shape").splitlines()
    for number, row in enumerate(rows[2:], 2):
        _, name, before, _, _ = row.split("|")
        value = now[name.strip()]
        if name.strip() in ("longest chain of modules", "private names of others"):
            value = value.split(" (")[0]  # which ones, is told elsewhere
        rows[number] = f"| {name.strip()} | {before.strip()} | {value} |"
    return "\n".join(rows)


def main():
    """Write the tables."""
    from django.conf import settings

    settings.configure()
    write_between(SETTINGS, "settings", settings_table())
    write_between(ARCHITECTURE, "modules", modules_table())
    write_between(ARCHITECTURE, "shape", shape_table())


if __name__ == "__main__":
    sys.exit(main())
