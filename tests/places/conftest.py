"""Fixtures: programs in processes of their own, and what they have published."""

import os
import subprocess
import sys

import pytest
import redis as redis_py

from tests.kit.processes import ROOT, environment


@pytest.fixture
def run(transactional_db):
    """Run a module: ``run("tests.places.green", "gevent", **settings)``; return what it printed.

    It ends within a minute and prints no traceback.
    """

    def run(module, *arguments, env=(), **settings):
        result = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env=environment(settings, env),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr, result.stderr
        return result.stdout

    return run


class Published:
    """What was published since it was made."""

    def __init__(self, url):
        self._redis = redis_py.Redis.from_url(url)
        self._pubsub = self._redis.pubsub()
        self._pubsub.psubscribe("asgi__group__*")
        assert self._pubsub.get_message(timeout=5)["type"] == "psubscribe"

    def take(self, *kinds):
        """Return how many messages of each kind came; a kind is a part of the text."""
        texts = []
        while (message := self._pubsub.get_message(timeout=0.5)) is not None:
            texts.append(message["data"])
        return [sum(kind.encode() in text for text in texts) for kind in kinds]

    def close(self):
        """End it."""
        self._pubsub.close()
        self._redis.close()


@pytest.fixture
def published(redis):
    """What is published meanwhile."""
    published = Published(os.environ["REDIS_URL"])
    yield published
    published.close()
