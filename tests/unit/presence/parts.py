"""The parts of presence that a process has, put together for a test."""

from bazis_ws_channels.presence.announcer import Announcer
from bazis_ws_channels.presence.lease import Lease
from bazis_ws_channels.presence.roster import Roster
from bazis_ws_channels.presence.stores.base import Connect, Token, Told


class Parts:
    """A lease, a roster and an announcer, on one store."""

    def __init__(self, clock, store, watcher):
        self.clock, self.store, self.watcher = clock, store, watcher
        self.lease = Lease(clock)
        self.roster = Roster(self.lease, clock)
        self.announcer = Announcer(self.confirm)

    async def confirm(self, edges):
        """Note as told."""
        return await self.store.aask(Told(self.lease.name, edges))

    async def write(self, session_id, key):
        """Write a session that is in the roster."""
        question = Connect(self.lease.name, session_id, key, 9, Token(age_us=0))
        self.announcer.tell(self.store.ask(question).edges)
        await self.announcer.drain()
        self.roster.was_written(session_id)
