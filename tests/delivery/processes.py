"""Processes that publish: a Celery worker, gunicorn, a management command."""

import json
import os
import subprocess
import sys
import urllib.request

from tests.servers import ROOT, Server


class CeleryWorker(Server):
    """A prefork worker."""

    ready = "ready."

    def command(self):
        return [
            *(sys.executable, "-m", "celery", "-A", "tests.delivery.worker", "worker"),
            *("--pool", "prefork", "--concurrency", "2", "-l", "info"),
            *("--without-gossip", "--without-mingle"),
        ]


class Gunicorn(Server):
    """A preloaded application in one worker with threads."""

    ready = "Booting worker"

    def command(self):
        return [
            *(sys.executable, "-m", "gunicorn", "tests.delivery.wsgi:application", "--preload"),
            *("--bind", f"127.0.0.1:{self.port}", "--threads", "4", "--timeout", "120"),
        ]


def manage(*arguments, check=True, **settings):
    """Run a management command as an administrator does; return what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_SETTINGS": json.dumps(settings),
        },
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
