"""The table of docs/settings.md, from the code: `python -m tests.settings_table` writes it."""

import re
import sys
from datetime import timedelta

from tests.kit import ROOT

PAGE = ROOT / "docs/settings.md"
MARKED = re.compile(r"<!-- settings -->\n(.*?)<!-- /settings -->", re.S)


def documented():
    """Return the table of the page."""
    return MARKED.search(PAGE.read_text())[1].strip()


def expected():
    """Return the table that the code asks for."""
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


def main():
    """Write the table into the page."""
    from django.conf import settings

    settings.configure()
    table = f"<!-- settings -->\n{expected()}\n<!-- /settings -->"
    PAGE.write_text(MARKED.sub(lambda _: table, PAGE.read_text()))


if __name__ == "__main__":
    sys.exit(main())
