#!/usr/bin/env python
"""Django's command line, for the demo project."""

import os
import sys


def main():
    """Run a command; what a newcomer may have forgotten is one line, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line

        try:
            execute_from_command_line(sys.argv)
        except ImproperlyConfigured as error:
            sys.exit(str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "demo", "bazis_ws_channels"):
            raise
        sys.exit(f"The demo needs {missing}, which is not installed: pip install -e '.[demo]'")


if __name__ == "__main__":
    main()
