"""The tests' settings with another user model."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.presence.identities"]
AUTH_USER_MODEL = f"identities.{os.environ['IDENTITY']}"
DATABASES["default"]["NAME"] = os.environ["IDENTITY_DATABASE"]
SILENCED_SYSTEM_CHECKS = ["fields.E304"]
