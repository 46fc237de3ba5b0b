"""The Django project that the tests run: one app, `tests.project`."""

import os
import tempfile
from pathlib import Path

import dj_database_url

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
SECRET_KEY = os.environ.get("SECRET_KEY", "only-for-tests-0123456789-abcdefghijklmnop")
USE_TZ = True
LANGUAGE_CODE = "en"
ROOT_URLCONF = "tests.project.urls"
ASGI_APPLICATION = "tests.project.asgi.application"
AUTH_USER_MODEL = "project.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "channels",
    "rest_framework",
    "bazis_ws_channels",
    "tests.project",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A file, for server processes must see the rows that a test makes.
_FILE = Path(os.environ.get("TEST_DATABASE_DIR", tempfile.gettempdir())) / "bazis_ws_tests.sqlite3"
DATABASES = {
    "default": dj_database_url.config("DATABASE_URL", default=f"sqlite:///{_FILE}", conn_max_age=60)
}
DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }

# tests/environment.py starts a server and sets REDIS_URL where the environment names none.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")]},
    }
}

CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")

# A server process under test gets its settings as JSON, for instance a shorter lease.
if "TEST_SETTINGS" in os.environ:
    import json

    globals().update(json.loads(os.environ["TEST_SETTINGS"]))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"bazis_ws_channels": {"handlers": ["console"], "level": "INFO"}},
}
