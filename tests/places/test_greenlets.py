"""Green threads: the first publish breaks neither later ones nor the ORM."""

import asyncio
import json
import re

import pytest
from asgiref.sync import sync_to_async

from tests.kit import CeleryWorker, Client, Gunicorn, Server, fetch


class GreenGunicorn(Gunicorn):
    """gunicorn with a gevent worker.

    It doesn't preload: the master would import Django before gevent has patched anything, which
    Django's own database connections don't stand.
    """

    def command(self):
        """Return the command line."""
        options = ("--bind", "127.0.0.1:0", "--timeout", "120", "-k", "gevent")
        return self.python("gunicorn", self.application, *options)


class GreenCelery(CeleryWorker):
    """A Celery worker with green threads."""

    def command(self):
        """Return the command line."""
        command = super().command()
        command[command.index("prefork")] = self.pool
        command[command.index("2")] = "20"
        return command


class GeventCelery(GreenCelery):
    pool = "gevent"


class EventletCelery(GreenCelery):
    pool = "eventlet"


class Huey(Server):
    """huey's consumer with green threads."""

    ready = re.compile("Huey consumer started")

    def command(self):
        """Return the command line."""
        consumer = ("huey.bin.huey_consumer", "tests.places.huey_app.huey")
        return self.python(*consumer, "-k", "greenlet", "-w", "10")


@pytest.mark.parametrize("kind", ["gevent", pytest.param("eventlet", marks=pytest.mark.places)])
def test_a_patched_process_publishes_and_uses_the_orm(run, published, alice, kind):
    """One after another, and 100 green threads at once; endings are published too."""
    run("tests.places.green", kind, alice.pk)
    assert published.take('"first', '"second', '"work"', '"all"', "logged_out") == [
        1,
        1,
        100,
        100,
        3,
    ]


@pytest.mark.parametrize(
    "worker", [GeventCelery, pytest.param(EventletCelery, marks=pytest.mark.places)]
)
async def test_a_celery_worker_with_green_threads(daphne, alice, worker):
    """20 tasks at once, each of which asks the database and publishes 50 times."""
    server, _ = await sync_to_async(daphne)(), await sync_to_async(daphne)(worker)
    from tests.delivery.worker import publish_many

    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        starts = range(0, 1000, 50)
        tasks = [await asyncio.to_thread(publish_many.delay, alice.pk, n, n + 50) for n in starts]
        received = [await client.data() for _ in range(1000)]
        assert sorted(received) == list(range(1000))
        for task in tasks:
            await asyncio.to_thread(task.get, timeout=30)


async def test_gunicorn_with_green_threads(daphne, alice):
    """20 requests at once, twice."""
    server = await sync_to_async(daphne)()
    gunicorn = await sync_to_async(daphne)(GreenGunicorn, ROOT_URLCONF="tests.delivery.wsgi")

    async def publish(start, stop):
        url = f"{gunicorn.http}/publish-many/{alice.pk}/{start}/{stop}/"
        return json.loads(await asyncio.to_thread(fetch, url))

    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        for round_ in range(2):  # the first request broke every later one
            starts = range(round_ * 1000, (round_ + 1) * 1000, 50)
            await asyncio.gather(*(publish(start, start + 50) for start in starts))
            received = [await client.data() for _ in range(1000)]
            assert sorted(received) == list(range(round_ * 1000, (round_ + 1) * 1000))
    assert gunicorn.tracebacks == 0


@pytest.mark.places
async def test_huey_with_green_threads(daphne, alice):
    """Its consumer's greenlets run tasks that ask the database and publish."""
    server, consumer = await sync_to_async(daphne)(), await sync_to_async(daphne)(Huey)
    from tests.places.huey_app import publish_many

    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        for start in range(0, 1000, 50):
            await asyncio.to_thread(publish_many, alice.pk, start, start + 50)
        received = [await client.data() for _ in range(1000)]
        assert sorted(received) == list(range(1000))
    assert consumer.tracebacks == 0
