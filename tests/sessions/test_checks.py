"""System checks that look at real parts: a Redis, the user model of another project."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.kit import ROOT, Redis
from tests.unit.checking import deployed


@pytest.mark.parametrize(
    ("model", "as_string", "is_told"),
    [("SnowflakeUser", False, True), ("SnowflakeUser", True, False), ("UuidUser", False, False)],
)
def test_ids_that_javascript_rounds(tmp_path, model, as_string, is_told):
    """Numbers of the project's own making; those that the database counts are no matter."""
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.presence.identities.settings",
        "IDENTITY": model,
        "IDENTITY_DATABASE": str(tmp_path / "identities.sqlite3"),
        "TEST_SETTINGS": json.dumps({"BAZIS_WS_ID_AS_STRING": as_string}),
    }
    result = subprocess.run(
        [sys.executable, "-m", "django", "check"],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ("bazis_ws.W022" in result.stderr) is is_told


def test_a_redis_that_evicts(settings):
    """With a limit and a policy that evicts, revocations are lost."""
    with Redis() as server:
        settings.BAZIS_WS_REQUIRE_OWN_TOKENS = True
        settings.BAZIS_WS_REDIS_URL = server.url
        server.client.config_set("maxmemory-policy", "allkeys-lru")
        assert deployed() == {}
        server.client.config_set("maxmemory", "100mb")
        assert list(deployed()) == ["W041"]
        server.client.config_set("maxmemory-policy", "noeviction")
        assert deployed() == {}
        server.client.config_set("maxmemory-policy", "volatile-ttl")
        server.pause()
        started_at = time.monotonic()
        assert deployed() == {}
        assert time.monotonic() - started_at < 2
