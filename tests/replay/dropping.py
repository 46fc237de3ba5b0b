"""Clients whose links are cut again and again, and what they got in the end.

For the tests of this package, and at full size for `tests.benchmarks.drops`.
"""

import asyncio
import contextlib
import itertools
import json
import random

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bazis_ws_channels import publishing
from bazis_ws_channels.exceptions import PublishError
from tests.kit import PATIENCE_SECONDS, until

STREAMS = ("user", "common")


class Wanderer:
    """A client that comes back with its position whenever the link is lost.

    Args:
        url: returns the address to connect to next.
        token: of its user.

    Attributes:
        got: values by stream, in the order in which they came.
        recovered: what the server said at each session but the first.
        missed: how often it said that messages were lost.
    """

    def __init__(self, url, user, token):
        self.user = user
        self.got = {"user": [], "common": []}
        self.recovered, self.missed, self.replayed = [], 0, 0
        self.live = asyncio.Event()
        self._url, self._token = url, token
        self._position = None
        self._task = asyncio.create_task(self._wander())

    async def stop(self):
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _wander(self):
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await self._session()
            self.live.clear()
            await asyncio.sleep(random.uniform(0.02, 0.1))

    async def _session(self):
        since = self._position
        query = f"?token={self._token}"
        if since is not None:
            query += f"&since={since['user']}~{since['common']}"
        options = {"compression": None, "max_queue": None, "open_timeout": 5, "ping_interval": None}
        async with connect(self._url() + query, **options) as socket:
            async for text in socket:
                self._take(json.loads(text))

    def _take(self, message):
        kind, position = message["type"], message.get("position")
        if kind == "subscribed":
            if self._position is not None:
                self.recovered.append(message["recovered"])
            self._position = position
            self.live.set()
        elif kind == "missed":
            self.missed += 1
        elif kind == "data":
            (stream,) = position
            self.got[stream].append(message["data"])
            self.replayed += message.get("replayed", False)
        if position and kind != "subscribed":
            self._position = {**self._position, **position}


@contextlib.asynccontextmanager
async def wandering(places):
    """Let clients wander, ``[(user, what has the address `ws`), ...]``; all are signed in."""
    clients = [
        Wanderer(lambda place=place: place.ws, user, user.ws_token()) for user, place in places
    ]
    try:
        for client in clients:
            await asyncio.wait_for(client.live.wait(), PATIENCE_SECONDS)
        yield clients
    finally:
        for client in clients:
            await client.stop()


class Load:
    """Publishes numbers, to each user and to all in turns.

    Attributes:
        published: by user's primary key, and by None for everybody: (number, whether the call
            succeeded; where it raised, nobody knows whether it was published).
        rounds: how many calls were made.
    """

    def __init__(self, users, per_second):
        self.rounds = 0
        self.published = {user.pk: [] for user in users} | {None: []}
        self._users, self._pause = users, 1 / per_second
        self._numbers = itertools.count()

    async def run(self, seconds):
        """Publish for some seconds, at a steady rate."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for round_ in range(int(seconds / self._pause)):
            await asyncio.sleep(max(0, start + round_ * self._pause - loop.time()))
            await self.publish(to_all=round_ % 2 == 1)

    async def publish(self, *, to_all):
        """Publish one message to each user, or one to everybody."""
        number = next(self._numbers)
        try:
            if to_all:
                await publishing.abroadcast(number)
            else:
                await publishing.apublish(self._users, number)
        except PublishError:
            worked = False
        else:
            worked = True
        for pk in [None] if to_all else [user.pk for user in self._users]:
            self.published[pk].append((number, worked))
        self.rounds += 1

    async def check(self, clients):
        """Wait until all have all; nobody was told of a gap."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: self.is_complete(clients))
        assert self.faults(clients) == []
        assert not any(client.missed for client in clients)

    def faults(self, clients):
        """Return what is wrong at each client: missing, twice, or out of order."""
        return list(filter(None, map(self._fault, clients)))

    def is_complete(self, clients):
        """Tell whether all have all."""
        return not self.faults(clients)

    def _fault(self, client):
        for stream, pk in (("user", client.user.pk), ("common", None)):
            sure = [number for number, worked in self.published[pk] if worked]
            got, unsure = client.got[stream], {n for n, worked in self.published[pk] if not worked}
            missing = set(sure) - set(got)
            if missing:
                return f"{stream}: {len(missing)} of {len(sure)} missing"
            if len(set(got)) < len(got):
                return f"{stream}: {len(got) - len(set(got))} twice"
            if [number for number in got if number not in unsure] != sure or got != sorted(got):
                return f"{stream}: out of order"
        return None


async def cut_at_random(proxies, down_seconds, every_seconds, stop):
    """Cut each proxy's links for a while, once in each period, at a random moment of it."""

    async def cut(proxy):
        while not stop.is_set():
            wait = random.uniform(0, every_seconds - down_seconds)
            await asyncio.sleep(wait)
            await asyncio.to_thread(proxy.refuse)
            await asyncio.to_thread(proxy.cut)
            await asyncio.sleep(down_seconds)
            await asyncio.to_thread(proxy.accept)
            await asyncio.sleep(every_seconds - down_seconds - wait)

    await asyncio.gather(*map(cut, proxies))
