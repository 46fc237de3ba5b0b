"""Clients that come with their position, to any process, stay for a while and go."""

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from typing import NamedTuple

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.fleet.accounts import Account
from tests.fleet.journal import COMMON, stream_of
from tests.fleet.store import now

#: A server may be frozen when a client comes.
OPTIONS = {"open_timeout": 10, "close_timeout": 1, "ping_interval": None}
#: How long one stays, and how long it thinks before it does something.
STAY_SECONDS, PAUSE_SECONDS = 3, 0.5


class Person(NamedTuple):
    """A user, with a token that outlives the test."""

    pk: int
    token: str


class Visitor:
    """One client, which keeps a position as the protocol asks.

    Attributes:
        person: whose session it has, or had last.
        process: to which it is connected; None: to none.
        is_live: whether it has a session.
        accounts: by stream.
        watched: who is online, of those it watches, as it was told; None while it watches nobody.
        figures: what happened, counted.
        gaps: when it was told that messages are lost, with the place where it goes on.
        faults: what the server did wrong.
    """

    def __init__(self, fleet, people, chance):
        self.person, self.process, self.is_live = None, None, False
        self.accounts = defaultdict(Account)
        self.watched = None
        self.figures, self.gaps, self.faults = Counter(), [], []
        self._fleet, self._people, self._chance = fleet, people, chance
        self._since = self._next = None

    @property
    def streams(self):
        """The names of its streams, by those on the wire."""
        return {"user": stream_of(self.person.pk), "common": COMMON}

    async def run(self, quiet):
        """Come and go until it is quiet; then stay, or come once more."""
        while True:
            try:
                if self._fleet.serving:
                    await self._visit(self._chance.choice(self._fleet.serving), quiet)
            except (OSError, WebSocketException) as error:
                self.figures[type(error).__name__] += 1
            finally:
                self.process, self.is_live, self.watched, self._next = None, False, None, None
            await self._be_away(quiet)

    async def _be_away(self, quiet):
        """Mostly a page is loaded again; sometimes it is closed for longer than a grace."""
        await asyncio.sleep(self._chance.uniform(0, 0.1))
        if self._chance.random() < 0.3:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(quiet.wait(), self._chance.uniform(0, 3))

    # --- what it does -----------------------------------------------------------------------

    async def _visit(self, server, quiet):
        """One connection."""
        if self._since is None or self._chance.random() < 0.05:
            self._since, self.person = None, self._chance.choice(self._people)
        is_early = self._chance.random() < 0.5
        url = server.ws + (self._query() if is_early else "")
        async with connect(url, compression=None, max_queue=None, **OPTIONS) as socket:
            self.process = server.pid
            if not is_early:
                await self._sign_in(socket)
            staying = asyncio.create_task(self._stay(socket, quiet))
            try:
                async for text in socket:
                    self._take(json.loads(text))
            finally:
                staying.cancel()
                await asyncio.gather(staying, return_exceptions=True)
                self.figures[f"closed {socket.close_code}"] += 1

    async def _stay(self, socket, quiet):
        """Do this and that for a while, and leave; stay when it is quiet."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._chance.uniform(0, STAY_SECONDS)
        while True:
            await asyncio.sleep(self._chance.uniform(0, PAUSE_SECONDS))
            if quiet.is_set():
                return
            if loop.time() > end:
                break
            if self.is_live:
                await self._do_something(socket)
        if self._chance.random() < 0.5:
            socket.transport.abort()
        else:
            await socket.close()

    async def _do_something(self, socket):
        match self._chance.randrange(8):
            case 0 if self._next is None:
                await self._sign_in(socket)  # a renewal
            case 1 if self._next is None:
                self._next = self._chance.choice(self._people)
                await self._send(socket, {"token": self._next.token})
            case 2 | 3 if self.watched is None and self._next is None:
                self.watched = {}
                await self._send(socket, {"type": "watch", "users": [p.pk for p in self._people]})

    async def _sign_in(self, socket):
        message = {"token": self.person.token}
        if self._since is not None:
            message["since"] = self._since
        await self._send(socket, message)

    def _query(self):
        query = f"?token={self.person.token}"
        if self._since is not None:
            query += "&since={user}~{common}".format(**self._since)
        return query

    async def _send(self, socket, message):
        await socket.send(json.dumps(message))

    # --- what it is told --------------------------------------------------------------------

    def _take(self, message):
        kind = message["type"]
        self.figures[kind] += 1
        if kind == "subscribed":
            self._begin(message)
        elif kind == "data":
            self._take_data(message)
        elif kind == "missed":
            self.gaps.append((now(), message["position"]))
            for name, position in message["position"].items():
                self.accounts[self.streams[name]].begin(position)
            self._since = {**self._since, **message["position"]}
        elif kind == "presence":
            self._take_presence(message)
        elif kind == "error":
            self.figures[message["code"]] += 1

    def _begin(self, message):
        """A session begins, or goes on with a newer token."""
        [person] = (each for each in self._people if each.pk == message["user"])
        position, recovered = message["position"], message["recovered"]
        is_renewed = self.is_live and person == self.person
        if not is_renewed:
            self.watched = None
        if person == self._next:
            self._next = None
        self.person, self.is_live, self._since = person, True, position
        if recovered is False and not is_renewed:  # which may cross a `missed`
            self.gaps.append((now(), position))
        for name, stream in self.streams.items():
            account = self.accounts[stream]
            if not (is_renewed or recovered):
                account.begin(position[name])
            elif account.at != position[name]:
                self.faults.append(f"{stream} goes on at {position[name]}, not {account.at}")

    def _take_data(self, message):
        value, at = message["data"], message.get("position") or {}
        self.accounts[self.streams[value["to"]]].take(value, at.get(value["to"]))
        self._since = {**self._since, **at}

    def _take_presence(self, message):
        pk, is_online = message["user"], message["is_online"]
        if self.watched is None:
            self.faults.append(f"watches nobody, and was told of {pk}")
        elif self.watched.get(pk) == is_online:
            self.faults.append(f"was told twice that {pk} is {'on' if is_online else 'off'}line")
        else:
            self.watched[pk] = is_online
