"""The demo's own tests, which show what the test kit is for, pass without any Redis."""

import os
import subprocess
import sys

from tests.demo.processes import BLANK
from tests.kit import ROOT


def test_own_tests(tmp_path):
    """As ``manage.py test`` runs them."""
    env = {**os.environ, **BLANK, "DJANGO_SETTINGS_MODULE": "demo.settings",
           "DEMO_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0",
           "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "test", "demo"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 14 tests" in done.stderr
