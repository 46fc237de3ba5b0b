"""A Redis behind a name that outlives failovers, and all that can happen to one."""

import asyncio
from datetime import UTC, datetime

from tests.kit import Proxy, Redis, channel_layers, wait_until

CONFIG = {"appendonly": "yes", "appendfsync": "always", "repl-diskless-sync-delay": "0"}


def now():
    """Return the time, as presence has it."""
    return datetime.now(UTC).isoformat()


class Store:
    """A primary, and a replica that may take its place: ``with Store() as store``.

    Nothing that was answered is lost, unless a method says so.

    Attributes:
        losses: when data was lost, ``[(begin, end), ...]``, in ISO 8601.
    """

    def __init__(self):
        self.primary, self._replica = Redis(**CONFIG), Redis(**CONFIG)
        self._name = Proxy(self.primary.url)
        self.losses = []

    def __enter__(self):
        self._name.__enter__()
        self._follow()
        return self

    def __exit__(self, *exc):
        self._name.__exit__(*exc)
        self.primary.close()
        self._replica.close()

    @property
    def channel_layers(self):
        """The ``CHANNEL_LAYERS`` setting: an address that stays the same."""
        return channel_layers(self._name.url)

    @property
    def client(self):
        """An administrator's client of the present primary."""
        return self.primary.client

    async def rest(self):
        """Wait until the replica has all that the primary had at the call, or more."""
        await asyncio.to_thread(wait_until, self._is_replicated, 60)

    # --- what loses nothing -----------------------------------------------------------------

    async def cut_subscriptions(self, chance):
        """Close all connections that subscribe."""
        await asyncio.to_thread(self.client.client_kill_filter, _type="pubsub")

    async def cut_commands(self, chance):
        """Close all others."""
        await asyncio.to_thread(self.client.client_kill_filter, _type="normal")

    async def cut_all(self, chance):
        """Close all connections at the same time, or reset them."""
        await asyncio.to_thread(chance.choice((self._name.cut, self._name.reset)))

    async def make_wait(self, chance):
        """Let Redis answer nothing for a while, or no writes."""
        pause = self.client.client_pause
        await asyncio.to_thread(pause, chance.randrange(1500), all=chance.random() < 0.5)

    async def hang(self, chance):
        """Stop Redis for a while, perhaps for longer than a lease; its port takes connections."""
        await asyncio.to_thread(self.primary.pause)
        await asyncio.sleep(chance.choice((0.1, 0.3, 0.6, 1.2, 2.5)))
        self.primary.resume()

    async def restart(self, chance):
        """Kill Redis and start it again with its data."""
        await asyncio.to_thread(self.primary.kill)
        await asyncio.sleep(chance.uniform(0, 0.3))
        await asyncio.to_thread(self.primary.start)

    async def hand_over(self, chance):
        """Let the replica take over as planned: writes wait until it has all."""
        await self.rest()
        await asyncio.to_thread(self.client.client_pause, 60_000, all=False)
        await self.rest()
        await asyncio.to_thread(self._replica.client.replicaof, "NO", "ONE")
        await self._swap(is_cut=chance.random() < 0.5)

    # --- what does --------------------------------------------------------------------------

    async def forget(self, chance):
        """Lose all data, with a restart or without a word."""
        begun_at = now()
        await asyncio.to_thread(self.client.flushall)
        self.losses.append((begun_at, now()))
        if chance.random() < 0.5:
            await self.restart(chance)

    async def go_back(self, chance):
        """Let the replica take over without the newest data."""
        await self.rest()
        begun_at = now()
        await asyncio.to_thread(self._replica.client.replicaof, "NO", "ONE")
        await asyncio.sleep(chance.uniform(0, 0.5))
        await self._swap(is_cut=True)
        self.losses.append((begun_at, now()))

    # --- the two servers --------------------------------------------------------------------

    async def _swap(self, *, is_cut):
        old, new = self.primary, self._replica
        self._name.target = new.url
        if is_cut:
            await asyncio.to_thread(self._name.cut)
        self.primary, self._replica = new, old
        await asyncio.to_thread(self._follow)

    def _follow(self):
        self._replica.client.replicaof("127.0.0.1", self.primary.port)
        self._replica.client.client_unpause()

    def _is_replicated(self):
        mine, its = (each.client.info("replication") for each in (self.primary, self._replica))
        is_linked = its["master_link_status"] == "up" and not its["master_sync_in_progress"]
        return is_linked and its["master_repl_offset"] >= mine["master_repl_offset"]
