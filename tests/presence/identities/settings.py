"""The tests' settings with another user model."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.presence.identities"]
AUTH_USER_MODEL = f"identities.{os.environ['IDENTITY']}"
# A file of its own, whatever the other tests use: the keys are what is tested here.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["IDENTITY_DATABASE"],
    }
}
SILENCED_SYSTEM_CHECKS = ["fields.E304"]
