"""Management commands and pages, as an administrator or a browser gets them."""

import json
import subprocess
import sys
import urllib.request

from tests.kit.processes import ROOT, environment


def manage(*arguments, check=True, **settings):
    """Run a management command as an administrator does; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode == 0) == check, result.stderr
    return result.stdout if check else result.stderr


def fetch(url, data=None, headers=()):
    """Return the body of a page; with `data`, of a POST of it as JSON."""
    body = None if data is None else json.dumps(data).encode()
    headers = {"Content-Type": "application/json", **dict(headers)}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as page:
        return page.read().decode()
