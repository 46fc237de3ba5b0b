"""One demo for all the tests that only use it; a deployment for those that break something."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys

import pytest

from tests.demo.browser import PATIENCE_MS, Person
from tests.demo.processes import BLANK, DemoCommand, DemoDaphne
from tests.kit import ROOT, Proxy, Redis
from tests.kit.browser import chromium


@pytest.fixture(scope="package")
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
        self.database = directory / "deployment.sqlite3"
        self.servers = []
        self.redis = Redis()
        self.env = {
            "REDIS_URL": f"{self.redis.url}/0",
            "DATABASE_URL": f"sqlite:///{self.database}",
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

    def execute(self, sql, *rows):
        """Run one statement in the database: for each row, or once; return what it finds."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=20)) as database, database:
            if rows:
                return database.executemany(sql, rows).fetchall()
            return database.execute(sql).fetchall()

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


@pytest.fixture(scope="module")
def browser():
    """A browser for this module: Playwright's sync API occupies the thread's event loop."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def expect(browser):
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
    return expect


@pytest.fixture
def person(browser, expect):
    """Make people; their consoles must stay clean, which includes the Content-Security-Policy."""
    people = []

    def make(server, name=None, **options):
        somebody = Person(browser, server, **options)
        people.append(somebody)
        if name is not None:
            somebody.sign_in(name)
            expect(somebody("#connection-text")).to_have_text("Live")
        return somebody

    yield make
    for somebody in people:
        noise = [
            line for line in somebody.console if not re.search(r"Failed to load|WebSocket", line)
        ]
        somebody.context.close()
        assert noise == []


@pytest.fixture
def stable():
    """Give a server an address that stays when another takes its place."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(Proxy(server.port))
