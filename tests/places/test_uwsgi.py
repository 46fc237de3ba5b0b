"""uWSGI forks in C, where nobody tells Python: what the master has published over stays there."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async

from tests.kit import Client, Server, fetch

pytestmark = pytest.mark.places


class Uwsgi(Server):
    """uWSGI: its master publishes, then it forks two workers with four threads each."""

    ready = re.compile(r"bound to TCP address 127.0.0.1:(?P<port>\d+)")
    options = ("--enable-threads", "--threads", "4")

    def command(self):
        """Return the command line."""
        return [
            str(Path(sys.executable).with_name("uwsgi")),
            *("--http-socket", "127.0.0.1:0", "--master", "--processes", "2", *self.options),
            *("--virtualenv", sys.prefix, "--module", "tests.delivery.wsgi:application"),
            *("--need-app", "--die-on-term", "--disable-logging", "--listen", "64"),
        ]


class UwsgiWithoutThreads(Uwsgi):
    """The same as it comes: one request at a time, and Python's threads don't run at all."""

    options = ()


@pytest.mark.parametrize("kind", [Uwsgi, UwsgiWithoutThreads])
async def test_workers_publish_after_the_fork(daphne, alice, kind):
    """At once, from both, everything once and in order."""
    server = await sync_to_async(daphne)()
    uwsgi = await sync_to_async(daphne)(kind, ROOT_URLCONF="tests.delivery.wsgi")

    async def publish(start, stop):
        url = f"{uwsgi.http}/publish-many/{alice.pk}/{start}/{stop}/"
        return json.loads(await asyncio.to_thread(fetch, url))

    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        starts = range(0, 2000, 100)
        reports = await asyncio.gather(*(publish(start, start + 100) for start in starts))
        received = [await client.data() for _ in range(2000)]
    assert sorted(received) == list(range(2000))
    for start in starts:
        assert [n for n in received if start <= n < start + 100] == list(range(start, start + 100))
    assert uwsgi.pid not in {report["pid"] for report in reports}
    assert "Traceback" not in uwsgi.log
