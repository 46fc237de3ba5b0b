"""A project that has its users already: the mixin changes nothing in the database, nor in names."""

import os
import subprocess
import sys

import pytest

from tests.kit import ROOT

SETTINGS = """
INSTALLED_APPS += ["channels", "rest_framework", "bazis_ws_channels", "people"]
AUTH_USER_MODEL = "people.User"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DATABASES["default"]["NAME"] = BASE_DIR / "db.sqlite3"
"""
BEFORE = """
from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    pass
"""
WITH_MIXIN = """
from django.contrib.auth.models import AbstractUser
from bazis_ws_channels.models import UserWsMixin


class User(UserWsMixin, AbstractUser):
    pass
"""
WITH_META = WITH_MIXIN.replace(
    "    pass", "    class Meta(AbstractUser.Meta):\n        ordering = ['pk']"
)
NAMES = """
from django.contrib.auth import get_user_model
from django.utils import translation
with translation.override("de"):
    print(get_user_model()._meta.verbose_name)
print(get_user_model()._meta.abstract)
"""


@pytest.fixture
def run(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("DJANGO_SETTINGS_MODULE", None)

    def run(*args):
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=env, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "django", "startproject", "mysite", ".")
    run("manage.py", "startapp", "people")
    with (tmp_path / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (tmp_path / "people/models.py").write_text(BEFORE)
    run("manage.py", "makemigrations", "people")
    run("manage.py", "migrate")
    return run


def test_the_mixin_makes_no_migration(run, tmp_path):
    """`makemigrations` finds nothing, the translated name stays, and tests start."""
    (tmp_path / "people/models.py").write_text(WITH_MIXIN)
    assert "No changes detected" in run("manage.py", "makemigrations", "--check")
    assert run("manage.py", "shell", "-v", "0", "-c", NAMES).split() == ["Benutzer", "False"]
    run("manage.py", "test")  # DEBUG is off there, and SECRET_KEY is that of startproject


def test_a_new_project(run, tmp_path):
    """The first migration names nothing of this package: it can be taken out again."""
    (tmp_path / "people/migrations/0001_initial.py").unlink()
    (tmp_path / "people/models.py").write_text(WITH_MIXIN)
    run("manage.py", "makemigrations", "people")
    migration = (tmp_path / "people/migrations/0001_initial.py").read_text()
    assert "bazis" not in migration
    (tmp_path / "people/models.py").write_text(WITH_META)
    assert "Change Meta options" in run("manage.py", "makemigrations", "people")
