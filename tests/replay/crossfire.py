"""Publishers in bursts, and clients that come and go, stop reading and change: what each is given
is whole, in order and once, or it is told.

For `test_crossfire`, whose docstring says how to run it for longer.
"""

import asyncio
import contextlib
import itertools
import random
from collections import defaultdict

from redis.exceptions import RedisError

from bazis_ws_channels import sending
from bazis_ws_channels.groups import user_group
from bazis_ws_channels.protocol import data_frame
from tests.kit import PATIENCE_SECONDS, until
from tests.replay.support import Socket


class Publisher:
    """Publishes to one group, one call after another, each with up to so many messages.

    The value of each is ``[stream, n, m, record, padding]``: `n` counts all of the stream, `m`
    those that are recorded, and those that are not.

    Attributes:
        sent: how many messages were sent, with those of calls that failed.
        failed: how many calls did.
    """

    def __init__(self, layer, stream, group, chance):
        self.layer, self.stream, self.group, self.chance = layer, stream, group, chance
        self.sent = 0
        self.failed = 0
        self._counts = {True: itertools.count(), False: itertools.count()}

    async def run(self, stop, pause_seconds):
        """Publish until told to stop."""
        while not stop.is_set():
            try:
                await self.burst()
            except (RedisError, OSError):
                self.failed += 1
                await asyncio.sleep(0.02)
            await asyncio.sleep(self.chance.uniform(0, pause_seconds))

    async def burst(self):
        """Publish some messages in one call; most are small."""
        messages = []
        for _ in range(self.chance.choice((1, 1, 2, 5, 20, 60))):
            record = self.chance.random() < 0.6
            size = self.chance.choice((0, 0, 0, 0, 0, 0, 200, 5_000, 30_000))
            value = [self.stream, self.sent, next(self._counts[record]), record, "x" * size]
            self.sent += 1
            messages.append(sending.push(self.group, data_frame(value), record=record))
        await self.layer.group_send_many(messages)


class Account:
    """What one client was given of one stream, and what is wrong with it.

    Args:
        is_calm: whether nothing is killed: then messages that are not recorded are whole, too.
    """

    def __init__(self, is_calm):
        self.is_calm = is_calm
        self.faults = []
        self.offset = None
        self.unrecorded = None
        self.live = None
        self.count = 0
        self.resumed = self.is_told = False

    def begin(self, offset, *, resumed):
        """A session begins behind this offset."""
        if resumed and offset != self.offset:
            self.faults.append(f"resumed at {offset}, not {self.offset}")
        self.offset, self.live = offset, None
        self.resumed = True  # what is not recorded is whole from the next on

    def missed(self, offset):
        """Messages are said to be lost, up to this one."""
        self.offset, self.live = offset, None
        self.is_told = True

    def take(self, value, offset, *, replayed):
        """A message came."""
        _, n, m, record, _ = value
        self.count += 1
        if offset is None and record:
            pass  # Redis has lost its memory, and nobody has a position yet
        elif offset is None:
            hole = self.is_calm and not self.resumed and m != self.unrecorded + 1
            if hole or (self.unrecorded is not None and m <= self.unrecorded):
                self.faults.append(f"not recorded: {m} behind {self.unrecorded}")
            self.unrecorded, self.resumed = m, False
        else:
            if offset != self.offset + 1 and not (self.is_told and offset == self.offset):
                self.faults.append(f"recorded: {offset} behind {self.offset}")
            self.offset, self.is_told = offset, False
        if self.is_calm and self.live is not None and n <= self.live:
            self.faults.append(f"order: {n} behind {self.live}")
        if not replayed and (offset is not None or self.live is not None):
            self.live = n


class Guest:
    """A client that comes with its position, stays for a while and goes.

    Attributes:
        accounts: by stream, ``user.<pk>`` or ``common``.
        missed, unrecovered: how often it was told so.
    """

    def __init__(self, users, chance, is_calm, pause_seconds):
        self.users, self.chance, self.pause_seconds = users, chance, pause_seconds
        self.user, self.pk, self.is_new = chance.choice(users), None, True
        self.accounts = defaultdict(lambda: Account(is_calm))
        self.since, self.sessions, self.missed, self.unrecovered = None, 0, 0, 0
        self.is_live = False
        self.faults = []
        self.closed_with = defaultdict(int)

    async def run(self, stop):
        """Come and go until told to stop; then stay, or come once more."""
        while True:
            await self._visit(stop)
            await asyncio.sleep(self.chance.uniform(0, self.pause_seconds / 4))

    async def _visit(self, stop):
        """One connection."""
        if self.since is not None and self.chance.random() < 0.9:
            self.user = next(user for user in self.users if user.pk == self.pk)
        else:
            self.since = None
        self.is_new = True
        token = await asyncio.to_thread(self.user.ws_token)
        socket = Slow(token, self.since)
        async with socket:
            reading = asyncio.create_task(self._read(socket))
            loop = asyncio.get_running_loop()
            end = loop.time() + self.chance.uniform(0, 3 * self.pause_seconds)
            while not (reading.done() or socket.has_ended):
                await asyncio.sleep(self.chance.uniform(0, self.pause_seconds / 2))
                if stop.is_set():
                    socket.may_send.set()
                elif loop.time() < end:
                    await self._do_something(socket)
                elif self.is_live or self.chance.random() < 0.05:
                    break
            self.is_live = False
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _do_something(self, socket):
        match self.chance.randrange(6):
            case 0:
                socket.may_send.clear()
            case 1 | 2:
                socket.may_send.set()
            case 3 if self.is_live:
                token = await asyncio.to_thread(self.user.ws_token)
                await socket.send({"token": token})
            case 4 if self.is_live and self.chance.random() < 0.3:
                self.user = self.chance.choice(self.users)
                token = await asyncio.to_thread(self.user.ws_token)
                await socket.send({"token": token})

    async def _read(self, socket):
        try:
            while True:
                self.take(await socket.receive())
        except ConnectionError:
            self.closed_with[socket.closed_with] += 1
        except TimeoutError:
            pass  # all has been published

    def take(self, message):
        kind, at = message["type"], message.get("position")
        if kind == "subscribed":
            self._begin(message)
        elif kind == "missed":
            self.missed += 1
            self.since = {**self.since, **at}
            for stream, position in at.items():
                self._account(stream).missed(offset_of(position))
        elif kind == "data":
            value = message["data"]
            if value[0] not in ("common", f"user.{self.pk}"):
                self.faults.append(f"of somebody else: {value[:3]}")
                return
            position = next(iter(at.values())) if at else None
            offset = None if position is None else offset_of(position)
            account = self.accounts[value[0]]
            account.take(value, offset, replayed=message.get("replayed", False))
            if at:
                self.since = {**self.since, **at}

    def _begin(self, message):
        self.is_live = True
        self.sessions += 1
        is_renewed = not self.is_new and self.pk == message["user"]
        self.pk, self.is_new = message["user"], False
        recovered = message.get("recovered")
        self.unrecovered += recovered is False
        for stream, position in message["position"].items():
            account, offset = self._account(stream), offset_of(position)
            if is_renewed:
                if account.offset != offset:
                    self.faults.append(f"renewed at {offset}, not {account.offset}")
            else:
                account.begin(offset, resumed=recovered is True)
        self.since = message["position"]

    def _account(self, stream):
        return self.accounts[f"user.{self.pk}" if stream == "user" else stream]

    def all_faults(self):
        """Return everything that is wrong."""
        found = [f"{stream}: {each}" for stream, a in self.accounts.items() for each in a.faults]
        return self.faults + found


def offset_of(position):
    """Return the number in a position."""
    return int(position.partition(".")[0])


class Slow(Socket):
    """A connection whose server waits while its client doesn't read."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.may_send = asyncio.Event()
        self.may_send.set()
        put = self._outbound.put

        async def wait_and_put(event):
            await self.may_send.wait()
            await put(event)

        self._outbound.put = wait_and_put

    @property
    def has_ended(self):
        """Whether the server has given it up."""
        return self._task.done()

    async def drop(self):
        """Lose the link."""
        self.may_send.set()
        await super().drop()


class Crossfire:
    """All of it.

    Args:
        layer: the channel layer.
        trouble: awaited again and again meanwhile; None: nothing is killed.
    """

    def __init__(self, layer, users, seed, guests=30, pause_seconds=0.1, trouble=None):
        self.chance = random.Random(seed)
        self.trouble = trouble
        self.guests = [
            Guest(users, random.Random(f"{seed}.{n}"), trouble is None, pause_seconds)
            for n in range(guests)
        ]
        streams = {"common": "common", **{f"user.{u.pk}": user_group(u.pk) for u in users}}
        self.publishers = [
            Publisher(layer, stream, group, random.Random(f"{seed}.{group}"))
            for stream, group in streams.items()
        ]
        self.layer, self.pause_seconds = layer, pause_seconds
        self.groups = streams

    async def run(self, seconds):
        """Do it, and wait until all guests have all."""
        quiet = asyncio.Event()
        await self.layer.streams.tops(list(self.groups.values()))  # from here on all is recorded
        publishing = [
            asyncio.create_task(each.run(quiet, self.pause_seconds)) for each in self.publishers
        ]
        visiting = [asyncio.create_task(guest.run(quiet)) for guest in self.guests]
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(self.chance.uniform(0, 0.5))
            if self.trouble is not None:
                await self.trouble(self.chance)
        quiet.set()
        await asyncio.gather(*publishing)
        for publisher in self.publishers:
            await publisher.burst()
        with contextlib.suppress(TimeoutError):
            await until(self._are_all_whole, PATIENCE_SECONDS)
        self.behind = await self._find_who_is_behind()
        for task in visiting:
            task.cancel()
        await asyncio.gather(*visiting, return_exceptions=True)

    async def _are_all_whole(self):
        return not await self._find_who_is_behind()

    async def _find_who_is_behind(self):
        """Return the guests that have not all: where each is, and where it should be."""
        names = list(self.groups)
        tops = await self.layer.streams.tops([self.groups[name] for name in names])
        last = dict(zip(names, (top.offset for top in tops), strict=True))
        return [
            (number, guest.is_live, stream, guest.accounts[stream].offset, last.get(stream))
            for number, guest in enumerate(self.guests)
            for stream in ("common", f"user.{guest.pk}")
            if guest.accounts[stream].offset != last.get(stream)
        ]

    def faults(self):
        """Return everything that is wrong, by guest."""
        faults = {n: found for n, guest in enumerate(self.guests) if (found := guest.all_faults())}
        if self.behind:
            faults["behind"] = self.behind
        return faults

    def figures(self):
        """Return what happened."""
        closed = defaultdict(int)
        for guest in self.guests:
            for code, number in guest.closed_with.items():
                closed[code] += number
        return {
            "sent": sum(each.sent for each in self.publishers),
            "failed": sum(each.failed for each in self.publishers),
            "given": sum(a.count for guest in self.guests for a in guest.accounts.values()),
            "sessions": sum(guest.sessions for guest in self.guests),
            "missed": sum(guest.missed for guest in self.guests),
            "unrecovered": sum(guest.unrecovered for guest in self.guests),
            "closed": dict(closed),
        }
