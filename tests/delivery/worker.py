"""A Celery application of the test project: its parent process publishes before it forks."""

import os
import threading

import django
from celery import Celery
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from bazis_ws_channels import publishing  # noqa: E402
from tests.project.models import User  # noqa: E402

app = Celery("tests", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(broker_connection_retry_on_startup=True)


@worker_init.connect
def publish_before_the_fork(**kwargs):
    """Leave the parent with a loop, a thread and connections."""
    publishing.publish([0], 1)


@app.task
def publish(pk, data):
    """Publish one message, as most tasks do."""
    return User.objects.get(pk=pk).ws_publish(data)


@app.task
def publish_many(pk, start, stop):
    """Publish a row of numbers; say where, and which threads there are."""
    user = User.objects.get(pk=pk)
    for n in range(start, stop):
        user.ws_publish(n)
    return {"pid": os.getpid(), "threads": sorted(each.name for each in threading.enumerate())}
