"""One demo for all the tests that only use it; a deployment for those that break something."""

import os
import subprocess
import sys

import pytest

from tests.demo.processes import BLANK, DemoCommand, DemoDaphne
from tests.kit import ROOT, Redis


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The running demo: everything that ``manage.py demo`` starts."""
    database = os.environ.get("DEMO_TEST_DATABASE_URL", "")  # SQLite unless it names another
    server = DemoCommand.started(tmp_path_factory.mktemp("demo"), DATABASE_URL=database)
    try:
        yield server
    finally:
        server.stop()


class Deployment:
    """A Redis, a database, and as many daphnes as somebody starts."""

    def __init__(self, directory):
        self.directory = directory
        self.servers = []
        self.redis = Redis()
        self.env = {
            "REDIS_URL": f"{self.redis.url}/0",
            "DATABASE_URL": f"sqlite:///{directory / 'deployment.sqlite3'}",
            "SECRET_KEY": "a secret of this deployment, long enough for anybody",
            "DEMO_DATA_DIR": str(directory),
        }

    def prepare(self):
        self.manage("migrate", "--verbosity", "0")
        self.manage("demo_users")

    def manage(self, *arguments):
        """Run a command of manage.py; return what it prints."""
        env = {**os.environ, **BLANK, "DJANGO_SETTINGS_MODULE": "demo.settings", **self.env}
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def daphne(self, **env):
        """Start one more server."""
        server = DemoDaphne({**self.env, **env})
        self.servers.append(server)
        server.wait_until_ready()
        return server

    def stop(self):
        for server in self.servers:
            server.stop()
        self.redis.close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """The processes that ``manage.py demo`` would start, one by one."""
    pieces = Deployment(tmp_path_factory.mktemp("deployment"))
    try:
        pieces.prepare()
        yield pieces
    finally:
        pieces.stop()
