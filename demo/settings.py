"""Settings of the demo. Everything that differs between two places comes from the environment.

| variable | default |
| --- | --- |
| ``SECRET_KEY`` | made at the first start, kept in ``demo/.data/secret_key`` |
| ``REDIS_URL`` | ``redis://127.0.0.1:6379/0`` (``manage.py demo`` starts its own) |
| ``DATABASE_URL`` | SQLite in ``demo/.data/db.sqlite3`` |
| ``ALLOWED_HOSTS`` | the names of this machine's loopback, comma-separated |
| ``DEBUG`` | off; ``1`` turns it on |
| ``LOG_LEVEL`` | ``INFO`` |
| ``DEMO_DATA_DIR`` | ``demo/.data`` |
| ``DEMO_TASK_SECONDS`` | 6, the length of the long task |
| ``DEMO_TOKEN_SECONDS`` | 900, the life of a token; the page renews it |
"""

import os

import dj_database_url

from demo.data import data_file, read_or_make

SECRET_KEY = os.environ.get("SECRET_KEY") or read_or_make(data_file("secret_key"))
REDIS_URL = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
DEBUG = os.environ.get("DEBUG", "").lower() in ("1", "true", "yes", "on")
ALLOWED_HOSTS = [
    host.strip()
    for host in (os.environ.get("ALLOWED_HOSTS") or "localhost,127.0.0.1,[::1]").split(",")
]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "rest_framework_json_api",
    "bazis_ws_channels",
    "demo",
    "demo.users",
    "demo.chat",
    "demo.jobs",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "demo.urls"
ASGI_APPLICATION = "demo.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "/static/"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or f"sqlite:///{data_file('db.sqlite3')}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Several processes write: wait for each other, and don't let readers wait at all.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "users.User"  # no password rules: everybody's password is "demo"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
}
BAZIS_WS_TOKEN_LIFETIME = float(os.environ.get("DEMO_TOKEN_SECONDS") or 15 * 60)
BAZIS_WS_MAX_CONNECTIONS = 1000  # load tests sign in as one user many times

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["demo.users.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["demo.parsers.JSONParser"],
    # Answers as DRF's own, except where a view renders JSON:API.
    "EXCEPTION_HANDLER": "rest_framework_json_api.exceptions.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": 0,  # throttles don't believe in X-Forwarded-For: anybody can send one
}

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A request must not hang on a broker that is gone.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "retry_on_timeout": False,
    "max_retries": 1,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
DEMO_TASK_SECONDS = float(os.environ.get("DEMO_TASK_SECONDS") or 6)

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL") or "INFO"},
}
