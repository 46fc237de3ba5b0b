"""Environment variables for the tests' settings; loaded before Django's settings are.

Redis or Valkey: the server that ``REDIS_URL`` names, else an embedded one. It is emptied by
every test, so name none that holds anything.
"""

import atexit
import os
import shutil
import tempfile

if "TEST_DATABASE_DIR" not in os.environ:
    os.environ["TEST_DATABASE_DIR"] = tempfile.mkdtemp(prefix="bazis_ws_")
    atexit.register(shutil.rmtree, os.environ["TEST_DATABASE_DIR"], ignore_errors=True)

if "REDIS_URL" not in os.environ:
    from tests.kit.redis import Redis

    _redis = Redis()
    atexit.register(_redis.close)
    os.environ["REDIS_URL"] = _redis.url

os.environ.setdefault("TEST_EDGES", os.environ["REDIS_URL"])
