"""Settings of the measured project."""

import os

from tests.benchmarks.project import SETTINGS, database

globals().update(SETTINGS)

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "channels",
    "rest_framework",
    "bazis_ws_channels",
    "tests.benchmarks.ours",
]
AUTH_USER_MODEL = "ours.User"
DATABASES = database("ours")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [SETTINGS["REDIS_URL"]]},
    }
}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [], "DEFAULT_PERMISSION_CLASSES": []}
BAZIS_WS_MAX_CONNECTIONS = 100_000
BAZIS_WS_REAUTHORIZE_SECONDS = float(os.environ.get("BENCH_REAUTHORIZE_SECONDS", "60"))
