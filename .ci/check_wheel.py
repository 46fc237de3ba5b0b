"""Check what a wheel holds. That it works in a project, `make quickstart` shows."""

import sys
import zipfile
from pathlib import Path

NEEDED = [
    "bazis_ws_channels/py.typed",
    "bazis_ws_channels/static/bazis_ws_channels/client.d.ts",
    "bazis_ws_channels/static/bazis_ws_channels/client.js",
    "bazis_ws_channels/static/bazis_ws_channels/package.json",
    "bazis_ws_channels/management/commands/ws_publish.py",
    "bazis_ws_channels/pytest_plugin.py",
    "bazis_ws_channels/testing/__init__.py",
    "bazis_ws_channels/management/commands/ws_token.py",
    "bazis_ws_channels/presence/stores/lua/connect.lua",
]
UNWANTED = ("tests/", "demo/", "manage.py")


def check_content(wheel: Path) -> None:
    """Fail if something is missing from the wheel, or should not be in it."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NEEDED if name not in names]
    unwanted = [name for name in names if name.startswith(UNWANTED)]
    if missing or unwanted:
        sys.exit(f"wheel: missing {missing}, unwanted {unwanted}")


if __name__ == "__main__":
    check_content(Path(sys.argv[1]))
