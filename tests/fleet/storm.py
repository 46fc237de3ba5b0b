"""Publishers, visitors and trouble at the same time, and the verdict."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

from bazis_ws_channels import presence, publishing
from bazis_ws_channels.exceptions import ChannelLayerUnavailable
from tests.fleet import tellings
from tests.fleet.journal import COMMON, Journal, kept_of, stream_of
from tests.presence.support import keys

#: How long nothing at all may happen before what is waited for is given up.
PATIENCE_SECONDS = 30


class Storm:
    """All of it.

    Args:
        fleet, store: what the trouble is made for.
        visitors: the clients.
        publishers: their processes, which publish already.
        redis: where the processes write what they tell.
        layer: this process's channel layer.
        is_whole: whether Redis loses nothing.

    Attributes:
        history: the trouble that was made, and when.
        faults: what was wrong.
    """

    def __init__(self, fleet, store, visitors, publishers, redis, layer, *, is_whole):
        self._fleet, self._store, self._visitors = fleet, store, visitors
        self._publishers, self._redis, self._layer = publishers, redis, layer
        self._quiet = asyncio.Event()
        self._journal, self._kept = Journal(is_whole), {}
        self._tasks = {}
        self.history = []
        self.faults = []

    async def rage(self, troubles, seconds, chance):
        """Make trouble for so long: of each kind, in a new order again and again."""
        for visitor in self._visitors:
            self._tasks[visitor] = asyncio.create_task(visitor.run(self._quiet))
        begun_at = time.monotonic()
        waiting = []
        while time.monotonic() < begun_at + seconds:
            await asyncio.sleep(chance.uniform(0, 0.5))
            waiting = waiting or chance.sample(troubles, len(troubles))
            trouble = waiting.pop()
            self.history.append(f"{datetime.now(UTC):%H:%M:%S.%f} {trouble.__name__}")
            await trouble(chance)

    async def settle(self, people):
        """End the trouble, and wait until all have what they should have."""
        await self._fleet.settle()
        for publisher in self._publishers:
            publisher.terminate()
        for publisher in self._publishers:
            await asyncio.to_thread(publisher.wait, 60)
            for call in publisher.calls:
                self._journal.add(publisher.name, *call)
        self._quiet.set()
        await self._publish_last([person.pk for person in people])
        self._expect(await self._come(self._are_whole), "not all have all", self._behind)
        await self._settle_presence("all are there")
        await self._leave(self._visitors[::2])
        await self._settle_presence("half of them have left")
        await self._leave(self._visitors)
        await self._settle_presence("all have left")
        is_clean = await self._come(self._is_clean)
        self._expect(is_clean, "left behind", lambda: keys(self._store.client))

    async def end(self):
        """End all that goes on, whatever has happened."""
        await self._leave(self._visitors)
        await self._fleet.settle()

    def judge(self):
        """Return all that was wrong; it is in `faults`, too."""
        for number, visitor in enumerate(self._visitors):
            found = list(visitor.faults)
            if len(visitor.gaps) > len(self._store.losses):
                found.append(f"told of gaps {visitor.gaps}, for losses {self._store.losses}")
            for stream, account in visitor.accounts.items():
                found += [
                    f"{stream}: {each}"
                    for each in account.faults(self._kept[stream], self._journal)
                ]
            self.faults += [f"visitor {number}: {each}" for each in found]
        for kept in self._kept.values():
            values = kept.values.values()
            found = self._journal.faults(kept.stream, values, is_placed=True)
            self.faults += [
                f"kept of {kept.stream}: {each}" for each in found + self._journal.missing(kept)
            ]
        told = tellings.tellings(self._redis)
        self.faults += tellings.faults(told, self._fleet.doubtful, self._store.losses)
        return self.faults

    def figures(self):
        """Return what happened."""
        figures = sum((visitor.figures for visitor in self._visitors), Counter())
        calls = self._journal.calls.values()
        figures["calls"], figures["failed"] = len(calls), sum(not call.is_sure for call in calls)
        figures["gaps"] = sum(len(visitor.gaps) for visitor in self._visitors)
        figures["repeated"] = sum(call.tries > 1 for call in calls)
        figures["told"] = len(tellings.tellings(self._redis))
        return figures

    # --- messages ---------------------------------------------------------------------------

    async def _publish_last(self, pks):
        """Publish once more to everybody, and read what Redis keeps now."""
        streams = [COMMON, *map(stream_of, pks)]
        await _insist(lambda: kept_of(self._layer, streams))  # lost ones begin again
        value = {"by": "last", "n": 1, "to": "user"}
        await _insist(lambda: publishing.apublish(pks, value, idempotency_key="last 1"))
        self._journal.add("last", 1, streams[1:], True, True, 1)
        value = {"by": "last", "n": 2, "to": "common"}
        await _insist(lambda: publishing.abroadcast(value, idempotency_key="last 2"))
        self._journal.add("last", 2, streams[:1], True, True, 1)
        self._kept = await _insist(lambda: kept_of(self._layer, streams))

    async def _are_whole(self):
        return not self._behind()

    def _behind(self):
        """Return who has not all: where each is, and where it should be."""
        return [
            (number, visitor.process, visitor.is_live, stream, visitor.accounts[stream].at, top)
            for number, visitor in enumerate(self._visitors)
            for stream in visitor.streams.values()
            if visitor.accounts[stream].at != (top := self._kept[stream].top) or not visitor.is_live
        ]

    # --- presence ---------------------------------------------------------------------------

    async def _settle_presence(self, when):
        if not await self._come(self._is_right):
            self.faults.append(f"presence, when {when}: {await self._wrong_presence()}")

    async def _is_right(self):
        return not await self._wrong_presence()

    async def _wrong_presence(self):
        """Return what presence says, where that is wrong."""
        there = {visitor.person.pk for visitor in self._visitors if visitor.is_live}
        told = tellings.tellings(self._redis)
        said = {
            "is_online": await presence.aonline_users(),
            "told": tellings.online_as_told(told, there, self._store.losses),
        }
        for number, visitor in enumerate(self._visitors):
            if visitor.watched is not None:
                said[f"visitor {number}"] = {pk for pk, is_on in visitor.watched.items() if is_on}
        wrong = {who: pks for who, pks in said.items() if pks != there}
        return wrong and {"there": there, **wrong}

    async def _is_clean(self):
        return not keys(self._store.client)

    # --- waiting ----------------------------------------------------------------------------

    async def _leave(self, visitors):
        for visitor in visitors:
            self._tasks[visitor].cancel()
        await asyncio.gather(*map(self._tasks.get, visitors), return_exceptions=True)

    async def _come(self, condition):
        """Wait until a condition holds, as long as anything happens."""
        seen, end = None, 0
        while not await condition():
            happened = sum(visitor.figures.total() for visitor in self._visitors)
            happened += self._redis.llen(tellings.TOLD)
            if happened != seen:
                seen, end = happened, time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.05)
        return True

    def _expect(self, is_there, what, details):
        if not is_there:
            self.faults.append(f"{what}: {details()}")


async def _insist(function):
    """Try until it works: a connection may be one from before the storm."""
    while True:
        try:
            return await function()
        except (ChannelLayerUnavailable, publishing.PublishError):
            await asyncio.sleep(0.1)
