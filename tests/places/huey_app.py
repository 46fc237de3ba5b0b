"""A huey application of the test project."""

import os

import django
from huey import RedisHuey

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from tests.project.models import User  # noqa: E402

huey = RedisHuey("tests", url=os.environ["REDIS_URL"])


@huey.task()
def publish_many(pk, start, stop):
    """Publish a row of numbers."""
    user = User.objects.get(pk=pk)
    for n in range(start, stop):
        user.ws_publish(n)
    return User.objects.count()
