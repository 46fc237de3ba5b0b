"""The servers and workers of a deployment, each as an administrator would start it."""

import re

from tests.kit.processes import Server


class Daphne(Server):
    """daphne."""

    application = "tests.project.asgi:application"
    ready = re.compile(r"Listening on TCP address [\d.]+:(?P<port>\d+)")

    def command(self):
        """Return the command line."""
        endpoint = "tcp:0:interface=127.0.0.1:backlog=1024"
        return self.python("daphne", "-e", endpoint, self.application)


class Uvicorn(Server):
    """uvicorn with one of its WebSocket implementations, on one kind of event loop."""

    application = "tests.project.asgi:application"
    implementation, loop = "auto", "auto"
    ready = re.compile(r"Uvicorn running on https?://[\d.]+:(?P<port>\d+)")

    def command(self):
        """Return the command line."""
        kind = ("--ws", self.implementation, "--loop", self.loop)
        return self.python("uvicorn", self.application, "--port", "0", "--no-access-log", *kind)


class Gunicorn(Server):
    """gunicorn: a preloaded application in one worker with threads."""

    application = "tests.delivery.wsgi:application"
    ready = re.compile("Booting worker")

    def command(self):
        """Return the command line."""
        options = ("--preload", "--bind", "127.0.0.1:0", "--threads", "4", "--timeout", "120")
        return self.python("gunicorn", self.application, *options)

    @property
    def port(self):
        """The port that it has logged before its first worker."""
        self.wait_until_ready()
        return int(re.search(r"Listening at: http://[\d.]+:(\d+)", self.log)[1])


class CeleryWorker(Server):
    """A prefork worker."""

    application = "tests.delivery.worker"
    ready = re.compile(r"ready\.$")

    def command(self):
        """Return the command line."""
        return self.python(
            *("celery", "-A", self.application, "worker"),
            *("--pool", "prefork", "--concurrency", "2", "-l", "info"),
            *("--without-gossip", "--without-mingle"),
        )
