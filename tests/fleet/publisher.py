"""A publisher of its own process, in sync code: a Celery worker without Celery."""

import json
import random
import re
import signal
import sys
import threading
import time

from tests.kit import Server

CALL = "called: "


class Publisher(Server):
    """The process; `calls` are what it has done. SIGTERM lets it finish.

    Args:
        name: of it, and the beginning of its seed.
        pks: of the users to whom it publishes.
    """

    ready = re.compile("publishing")

    def __init__(self, settings, name, seed, pks):
        self._arguments = [name, f"{seed}.{name}", *map(str, pks)]
        self.name = name
        super().__init__(settings)

    def command(self):
        """Return the command line."""
        return self.python("tests.fleet.publisher", *self._arguments)

    @property
    def calls(self):
        """What it has done: the arguments of `Journal.add` behind its name."""
        lines = self.log.splitlines()
        return [json.loads(line.removeprefix(CALL)) for line in lines if line.startswith(CALL)]


class Work:
    """Publishes one call after another, to some users or to everybody.

    A call without an idempotency key is made once, whatever comes of it; one with a key is
    repeated until it succeeds.
    """

    def __init__(self, name, seed, pks):
        self._name, self._pks = name, pks
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._number = 0

    def run(self):
        """Publish until told to stop."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        print("publishing")
        while not self._stop.is_set():
            self._call()
            self._stop.wait(self._chance.uniform(0, 0.05))

    def _call(self):
        from bazis_ws_channels import publishing  # Django is set up by now

        pks = self._chance.choice(([], self._pks, self._chance.sample(self._pks, 1)))
        record, self._number = self._chance.random() < 0.7, self._number + 1
        key = f"{self._name}.{self._number}" if self._chance.random() < 0.5 else None
        value = {"by": self._name, "n": self._number, "to": "user" if pks else "common"}
        options = {"record": record, "idempotency_key": key}
        is_sure, tries = False, 0
        while not is_sure and (tries == 0 or key is not None):
            tries += 1
            try:
                if pks:
                    publishing.publish(pks, value, **options)
                else:
                    publishing.broadcast(value, **options)
                is_sure = True
            except publishing.PublishError:
                time.sleep(0.02)
        streams = [f"user.{pk}" for pk in pks] or ["common"]
        print(CALL + json.dumps([self._number, streams, record, is_sure, tries]))


def main(name, seed, *pks):
    """Publish."""
    import django

    django.setup()
    Work(name, seed, [int(pk) for pk in pks]).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
