"""Settings and helpers that the stock and the measured Django project have in common."""

import gc
import json
import os
import threading
import time
from pathlib import Path

__all__ = ["SETTINGS", "count_queries", "stats_application"]

#: How far away the database seems to be.
AWAY_SECONDS = float(os.environ.get("BENCH_DATABASE_SECONDS", "0"))
FOLDER = Path(os.environ.get("BENCH_FOLDER", "/tmp"))

# What both projects are given alike. Query logging, debug and sessions are off in both: they
# would add the same cost to each and hide the difference.
SETTINGS = {
    "SECRET_KEY": os.environ.get("BENCH_SECRET_KEY", "benchmark-only-0123456789-0123456789"),
    "DEBUG": False,
    "ALLOWED_HOSTS": ["*"],
    "USE_TZ": True,
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "LOGGING": {"version": 1, "disable_existing_loggers": False},
    "REDIS_URL": os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0"),
}


def database(name: str) -> dict:
    """Return the DATABASES setting of one project: an SQLite file in the run's folder."""
    engine = "django.db.backends.sqlite3"
    # As the README advises: without it, half of an authentication is opening the database.
    return {"default": {"ENGINE": engine, "NAME": FOLDER / f"{name}.sqlite3", "CONN_MAX_AGE": 60}}


class QueryCounter:
    """Counts database queries on every connection of the process."""

    def __init__(self):
        self.count = 0
        self.lock = threading.Lock()

    def __call__(self, execute, sql, params, many, context):
        with self.lock:
            self.count += 1
        time.sleep(AWAY_SECONDS)
        return execute(sql, params, many, context)

    def watch(self, connection, **_):
        """Join a new database connection; a reopened one has the counter already."""
        time.sleep(AWAY_SECONDS)
        if self not in connection.execute_wrappers:
            connection.execute_wrappers.append(self)


counter = QueryCounter()


def count_queries() -> None:
    """Count from now on the queries of all database connections."""
    from django.db.backends.signals import connection_created

    connection_created.connect(counter.watch)


async def stats_application(scope, receive, send) -> None:
    """Answer the harness's GET /stats."""
    if scope["query_string"] == b"collect":
        gc.collect()
    body = json.dumps({"queries": counter.count, "pid": os.getpid()}).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
