"""The store's records beside this process's sessions."""

import pytest

from bazis_ws_channels.presence import audit as module
from bazis_ws_channels.presence.audit import audit
from bazis_ws_channels.presence.stores.base import Connect, Disconnect, Records, Statuses, Token
from tests.unit.presence.parts import Parts


class World(Parts):
    """The parts, and sessions a and b of the users 1 and 2."""

    async def begin(self):
        """Write them."""
        await self.lease.take()
        for session_id, key in (("a", "1"), ("b", "2")):
            self.roster.add(session_id, key, self.watcher)
            await self.write(session_id, key)
        self.store.kinds()

    async def leave(self, *session_ids):
        """Let sessions end."""
        for session_id in session_ids:
            self.roster.remove(session_id)
        await self.roster.write_departures()

    def forget(self):
        """Let the store lose who has left, and when anybody was seen."""
        self.store._sessions.leaving.clear()
        self.store._sessions.seen.clear()
        self.store.kinds()

    async def audit(self):
        """Compare, and write what was found; return what is missing, and what was written."""
        missing = await audit(self.lease, self.roster)
        self.store.kinds()
        await self.roster.write_departures()
        return missing, [each for each in self.store.asked if isinstance(each, Disconnect)]


@pytest.fixture
async def world(clock, store, watcher):
    """The parts."""
    world = World(clock, store, watcher)
    await world.begin()
    return world


async def test_all_is_right(world):
    """Then nothing follows, and nobody is asked for who has not left."""
    assert await audit(world.lease, world.roster) == []
    assert world.store.kinds() == [Records]
    assert not world.roster.has_departures


async def test_a_session_that_is_back(world):
    """Its end is written again."""
    await world.leave("a")
    world.store.ask(Connect(world.lease.name, "a", "1", 9, Token(age_us=0)))
    missing, [question] = await world.audit()
    assert missing == []
    assert (question.records, question.lost) == ([("a", "1")], None)
    assert "1" not in world.store._sessions


async def test_a_session_that_is_missing(world):
    """Unless it has left meanwhile."""
    del world.store._processes[world.lease.name].records["a"]
    assert await world.audit() == ([("a", "1")], [])
    world.store.meanwhile[Records] = lambda: world.roster.remove("a")
    assert await audit(world.lease, world.roster) == []


async def test_a_session_that_is_not_yet_written(world):
    """It is neither missing nor strange."""
    world.roster.add("c", "3", world.watcher)
    assert await world.audit() == ([], [])
    world.store.ask(Connect(world.lease.name, "c", "3", 9, Token(age_us=0)))
    assert await world.audit() == ([], [])


async def test_whoever_left_is_known(world):
    """By the time at which the user was seen last."""
    await world.leave("a", "b")
    world.store.kinds()
    assert await audit(world.lease, world.roster) == []
    assert world.store.kinds() == [Records, Statuses]
    assert not world.roster.has_departures


async def test_whoever_left_is_forgotten(world, monkeypatch):
    """Once: then they are known again."""
    monkeypatch.setattr(module, "_BATCH", 1)
    await world.leave("a", "b")
    world.forget()
    _, [question] = await world.audit()
    assert question.records == [("a", "1"), ("b", "2")]
    assert question.lost == world.lease.name
    assert world.store._sessions.leaving.keys() == {"1", "2"}
    assert await world.audit() == ([], [])


async def test_who_was_seen_long_before(world, clock):
    """The store has gone back to a time before the session."""
    clock.move(60)
    await world.leave("a")
    world.forget()
    world.store._sessions.seen["1"] = int((clock() - 30) * 1_000_000)
    _, questions = await world.audit()
    assert len(questions) == 1


async def test_who_is_back_on_another_process(world):
    """Is not told offline."""
    await world.leave("a")
    world.forget()
    world.roster.add("c", "1", world.watcher)
    await world.write("c", "1")
    world.store._sessions.seen.clear()
    assert await world.audit() == ([], [])
