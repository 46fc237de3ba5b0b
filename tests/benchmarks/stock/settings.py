"""Settings of the stock project."""

from tests.benchmarks.project import SETTINGS, database

globals().update(SETTINGS)

INSTALLED_APPS = ["daphne", "django.contrib.auth", "django.contrib.contenttypes", "channels"]
DATABASES = database("stock")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [SETTINGS["REDIS_URL"]]},
    }
}
