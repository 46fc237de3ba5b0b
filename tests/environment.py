"""Environment variables for the tests' settings; loaded before Django's settings are.

| variable | what it names | by default |
| --- | --- | --- |
| ``REDIS_URL`` | a Redis or Valkey, which **is emptied** by every test | one of the tests' own |
| ``TEST_REDIS_BINARY`` | the server for that: ``redis-server`` | the embedded Valkey |
| ``DATABASE_URL`` | a database, which **is made anew** | an SQLite file of the tests' own |
| ``TEST_POSTGRES`` | anything: PostgreSQL, by a server of the tests' own | not |

The unit tests need no Redis, and start none where nothing else is run. With ``-n`` of pytest-xdist
each worker has servers and a directory of its own, and a file's tests stay with one worker.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"

#: "gw0" in a worker of pytest-xdist; None where the tests run in this process.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")

#: With several workers these suites begin first, for they take the longest; the unit tests are the
#: last, and fill the gaps at the end.
LONG = ("demo", "delivery", "presence", "replay", "fleet")

_to_close = []


@pytest.hookimpl(wrapper=True)  # around pytest-django, which loads the settings
def pytest_load_initial_conftests(early_config):
    """Name a directory, a database and a Redis before the settings are loaded."""
    options = early_config.known_args_namespace
    if WORKER or not getattr(options, "numprocesses", None):  # else the workers do it
        os.environ.pop("PYTEST_ADDOPTS", None)  # not meant for a pytest that a test runs
        _name_database()
        paths = [path.partition("::")[0] for path in options.file_or_dir]
        if not paths or not all(_is_unit(path) for path in paths):
            _name_redis()
    return (yield)


@pytest.hookimpl(trylast=True)  # pytest-django sorts, too
def pytest_collection_modifyitems(items):
    """Refuse ids that differ from worker to worker; in a worker, begin with what takes long."""
    if WORKER:
        items.sort(key=lambda item: _rank(item.path))
    for item in items:
        if re.search(" at 0x[0-9a-f]", item.nodeid):
            raise pytest.UsageError(f"Name this case by pytest.param(..., id=...): {item.nodeid}")


@pytest.hookimpl(trylast=True)  # after the fixtures; a worker may be ended right after this
def pytest_sessionfinish():
    """End what was started here."""
    while _to_close:
        _to_close.pop()()


def _rank(path):
    suite = path.relative_to(UNIT.parent).parts[0]
    return LONG.index(suite) if suite in LONG else len(LONG) + _is_unit(path)


def _is_unit(path):
    return Path(path).resolve().is_relative_to(UNIT)


def _name_database():
    if WORKER or "TEST_DATABASE_DIR" not in os.environ:
        directory = os.environ["TEST_DATABASE_DIR"] = tempfile.mkdtemp(prefix="bazis_ws_")
        _to_close.append(lambda: shutil.rmtree(directory, ignore_errors=True))
    if os.environ.get("TEST_POSTGRES"):
        from tests.kit.postgres import Postgres

        postgres = Postgres()
        _to_close.append(postgres.close)
        os.environ["DATABASE_URL"] = postgres.url_of("bazis_ws")
        os.environ["DEMO_TEST_DATABASE_URL"] = postgres.create("demo")
    elif WORKER and "DATABASE_URL" in os.environ:
        os.environ["DATABASE_URL"] += f"_{WORKER}"


def _name_redis():
    if "REDIS_URL" not in os.environ:
        from tests.kit.redis import Redis
        from tests.kit.redis_binary import BinaryRedis

        binary = shutil.which(os.environ.get("TEST_REDIS_BINARY", ""))
        redis = BinaryRedis(binary) if binary else Redis()
        _to_close.append(redis.close)
        os.environ["REDIS_URL"] = redis.url
    elif WORKER:
        raise pytest.UsageError("Each worker empties its Redis: not REDIS_URL, TEST_REDIS_BINARY")
    os.environ.setdefault("TEST_EDGES", os.environ["REDIS_URL"])


def pytest_xdist_make_scheduler(config, log):
    """Let one worker run all tests of a file, which share servers; in the order of the items."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)
