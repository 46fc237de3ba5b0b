"""Environment variables for the tests' settings; loaded before Django's settings are.

Redis or Valkey: the server that ``REDIS_URL`` names, else an embedded one. It is emptied by
every test, so name none that holds anything. The unit tests need none, and start none where
nothing else is run.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"

if "TEST_DATABASE_DIR" not in os.environ:
    os.environ["TEST_DATABASE_DIR"] = tempfile.mkdtemp(prefix="bazis_ws_")
    atexit.register(shutil.rmtree, os.environ["TEST_DATABASE_DIR"], ignore_errors=True)


@pytest.hookimpl(wrapper=True)  # around pytest-django, which loads the settings
def pytest_load_initial_conftests(early_config):
    """Name a Redis before the settings are loaded."""
    paths = [path.partition("::")[0] for path in early_config.known_args_namespace.file_or_dir]
    if not paths or not all(_is_unit(path) for path in paths):
        _name_redis()
    return (yield)


def _is_unit(path):
    return Path(path).resolve().is_relative_to(UNIT)


def _name_redis():
    if "REDIS_URL" not in os.environ:
        from tests.kit.redis import Redis

        redis = Redis()
        atexit.register(redis.close)
        os.environ["REDIS_URL"] = redis.url
    os.environ.setdefault("TEST_EDGES", os.environ["REDIS_URL"])
