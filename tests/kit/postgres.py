"""A PostgreSQL server of one's own, from the programs that Debian installs."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.kit.redis import PORTS
from tests.kit.waiting import wait_until


class Postgres:
    """A server in a directory of its own; it runs until `close`."""

    def __init__(self):
        # The server refuses to run as root, so its directory is its user's.
        self._as = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
        self._directory = tempfile.mkdtemp(prefix="bazis_ws_postgres_")
        if self._as:
            shutil.chown(self._directory, **self._as)
        data = f"{self._directory}/data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self._directory,
            **self._as,
        )
        for self.port in random.sample(PORTS, 20):
            options = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
            options += ("max_connections=200",)
            self._process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(self.port)]
                + [part for option in options for part in ("-c", option)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._directory,
                **self._as,
            )
            wait_until(lambda: self._answers() or self._process.poll() is not None)
            if self._process.poll() is None:
                return  # else another server has the port
        raise AssertionError("PostgreSQL did not start")

    def create(self, name):
        """Make a database; return its URL."""
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def url_of(self, name):
        """Return the URL of a database, which there may be."""
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """End it for good."""
        # At once: the thread that Django's sync code shares keeps its connection until the end.
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)
        shutil.rmtree(self._directory)

    def _answers(self):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=self.port, user="postgres").close()
            return True
        return False
