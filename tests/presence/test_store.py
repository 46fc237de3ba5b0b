"""The two stores answer every question alike."""

import inspect
import os

import pytest

from bazis_ws_channels.presence.stores import base
from bazis_ws_channels.presence.stores.memory import MemoryStore
from bazis_ws_channels.presence.stores.redis import RedisStore
from bazis_ws_channels.redis.hosts import Host
from tests.kit import until

LONG_MS = 60_000
GRACE_US = 5_000_000
KEEP_US = 3600 * 1_000_000


class World:
    """A store, with short names for what the tests ask of it."""

    def __init__(self, store):
        self.store = store
        self.untold = {}

    async def ask(self, question):
        """Ask."""
        return await self.store.aask(question)

    async def process(self, *names):
        """Register processes."""
        for name in names:
            await self.ask(base.Register(name, LONG_MS))

    async def renew(self, process, lease_ms=LONG_MS):
        """Renew a lease."""
        return await self.ask(base.Renew(process, lease_ms))

    async def connect(self, process, conn, key, limit=50, token=None):
        """Connect; return the verdict and whether the user came online."""
        token = base.Token(age_us=0) if token is None else token
        reply = await self.ask(base.Connect(process, conn, key, limit, token))
        await self.tell(process, reply.edges)
        return reply.verdict, bool(reply.edges)

    async def disconnect(self, process, *pairs, grace=GRACE_US, lost=None, keep=KEEP_US):
        """Disconnect; return whether anybody's last connection went."""
        return await self.ask(base.Disconnect(process, grace, keep, lost, records(pairs)))

    async def restore(self, process, lost, *pairs):
        """Restore; return the users told online."""
        edges = await self.ask(base.Restore(process, lost, records(pairs)))
        await self.tell(process, edges)
        assert all(edge.is_online for edge in edges)
        return [edge.key for edge in edges]

    async def tell(self, process, edges):
        """Note that edges were told, as whoever tells them does."""
        while edges:
            told = [(edge.key, edge.seq) for edge in edges]
            edges = await self.ask(base.Told(process, told))

    async def census(self, process, batch=500, **options):
        """Take a census; return the reply."""
        reply = await self.ask(base.Census(process, LONG_MS, batch, **options))
        await self.tell(process, reply.edges)
        return reply

    async def bury(self, process, dead, batch=500, most=None, **grace):
        """Bury a dead process; return the users told offline."""
        cursor, gone = "0", []
        while True:
            page = await self.ask(base.Records(dead, cursor, batch))
            edges = await self.ask(base.Bury(process, dead, page.records[:most], **grace))
            await self.tell(process, edges)
            gone += [edge.key for edge in edges]
            cursor = page.cursor
            if cursor == "0" or most is not None:
                return gone

    async def sweep(self, process, batch=500):
        """Take a census and bury the dead; return the users told offline, in order of keys."""
        gone = []
        while True:
            reply = await self.census(process, batch)
            gone += [edge.key for edge in reply.edges if not edge.is_online]
            for dead in reply.dead:
                gone += await self.bury(process, dead, batch)
            if not reply.more:
                return sorted(gone)

    async def die(self, process):
        """Let the lease of a process run out."""
        await self.renew(process, 1)

        async def is_dead():
            return (await self.connect(process, "probe", "probe", limit=0))[0] == "lost"

        await until(is_dead)

    async def counts(self, *keys):
        """Count users' connections."""
        return await self.ask(base.Counts(keys))

    async def told(self, key):
        """Return whether the user counts as told online."""
        _, _, [state] = await self.ask(base.ToldStates([key]))
        return state.is_online

    async def seen(self, key):
        """Return the stored time of the user's last connection."""
        _, [seen] = await self.ask(base.Statuses([key]))
        return seen.last_seen

    async def is_void(self, key, issued=None, jti=None):
        """Tell whether a token is void."""
        return await self.ask(base.Revoked([(key, base.Token(issued, jti))])) == [True]


def records(pairs):
    """Return records of ``connection, key, ...``."""
    return list(zip(pairs[::2], pairs[1::2], strict=True))


@pytest.fixture(params=["redis", "memory"])
def world(request):
    """A store of each kind."""
    if request.param == "memory":
        return World(MemoryStore())
    return World(RedisStore(Host({"address": os.environ["REDIS_URL"]})))


QUESTIONS = [
    base.Register("p", LONG_MS),
    base.Renew("p", LONG_MS),
    base.Intact("p", []),
    base.Restore("p", "old", []),
    base.Connect("p", "c", "1", 50, base.Token(age_us=0)),
    base.Disconnect("p", 0, KEEP_US, None, []),
    base.Census("p", LONG_MS, 10),
    base.Records("p", "0", 10),
    base.Bury("p", "q", []),
    base.Told("p", [("1", 1)]),
    base.Statuses(["1"]),
    base.Counts(["1"]),
    base.ToldStates(["1"]),
    base.OnlineKeys("0", 9),
    base.OnlineCount(),
    base.Processes(),
    base.Fleet(["p"]),
    base.Lead("p", LONG_MS),
    base.Revocations("0", 10),
    base.RevokeBefore("9", 1, 60),
    base.RevokeToken("jti", 60),
    base.Revoked([("1", base.Token())]),
    base.Release("p"),
]


async def test_both_stores_answer_every_question(world):
    """By blocking and by async code alike, and with replies of the same kinds."""
    kinds = inspect.getmembers(base, inspect.isclass)
    known = {kind for _, kind in kinds if issubclass(kind, base.Question)} - {base.Question}
    assert {type(question) for question in QUESTIONS} == known
    memory = MemoryStore()
    for question in QUESTIONS:
        blocking = world.store.ask(question)
        assert type(blocking) is type(await world.ask(question)), question
        assert type(blocking) is type(memory.ask(question)), question


async def test_register_tells_of_peers(world):
    """The first process is alone; the second hears of it, and it of the second."""
    assert await world.ask(base.Register("p1", LONG_MS)) is False
    assert await world.renew("p1") is False
    assert await world.ask(base.Register("p2", LONG_MS)) is True
    assert await world.renew("p1") is True


async def test_peers_that_are_gone_are_forgotten(world):
    """A sweep that finds no other process says so, and so does the next renewal."""
    await world.process("p1", "p2")
    await world.die("p2")
    assert (await world.census("p1")).has_peers is False
    assert await world.renew("p1") is False


async def test_renew_of_a_lost_lease_is_refused(world):
    """A lease that ran out can't be renewed, and never was one for an unknown process."""
    await world.process("p1")
    await world.die("p1")
    assert await world.renew("p1") is None
    assert await world.renew("never") is None


async def test_only_the_first_connection_brings_online(world):
    """A second tab, on any process, is no news."""
    await world.process("p1", "p2")
    assert await world.connect("p1", "a", "1") == ("ok", True)
    assert await world.connect("p1", "b", "1") == ("ok", False)
    assert await world.connect("p2", "c", "1") == ("ok", False)
    assert await world.counts("1", "2") == [3, 0]


async def test_connecting_again_changes_nothing(world):
    """The same connection of the same process counts once."""
    await world.process("p1")
    await world.connect("p1", "a", "1")
    assert await world.connect("p1", "a", "1") == ("ok", False)
    assert await world.counts("1") == [1]


async def test_a_process_without_lease_cannot_connect(world):
    """The process is told that it is lost, and nothing is written."""
    assert await world.connect("never", "a", "1") == ("lost", False)
    assert await world.counts("1") == [0]
    assert not await world.told("1")


async def test_the_limit_counts_live_connections_only(world):
    """Connections of a dead process don't lock a user out."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1", limit=1)
    assert await world.connect("p2", "b", "1", limit=1) == ("too_many", False)
    await world.die("p1")
    assert await world.connect("p2", "b", "1", limit=1) == ("ok", False)


async def test_offline_is_told_once_after_the_grace(world):
    """The last connection gone: told online during the grace, then offline by one sweep."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p2", "b", "1")
    assert not await world.disconnect("p1", "a", "1")
    assert await world.counts("1") == [1]
    assert await world.disconnect("p2", "b", "1") == 1
    assert await world.counts("1") == [0]
    assert await world.told("1")
    assert await world.sweep("p1") == []
    await world.connect("p1", "a", "1")
    await world.disconnect("p1", "a", "1", grace=0)
    assert await world.sweep("p2") == ["1"]
    assert await world.sweep("p1") == []
    assert not await world.told("1")


async def test_back_within_the_grace_is_no_news(world):
    """A reload makes no edge, either way."""
    await world.process("p1")
    await world.connect("p1", "a", "1")
    await world.disconnect("p1", "a", "1")
    assert await world.connect("p1", "b", "1") == ("ok", False)
    assert await world.sweep("p1") == []


async def test_disconnecting_what_is_unknown_changes_nothing(world):
    """Neither a connection that never was nor another process's is taken off."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    assert await world.disconnect("p2", "a", "1", "never", "1", "x", "2", grace=0) == 0
    assert await world.counts("1") == [1]
    assert await world.sweep("p1") == []


async def test_a_forgotten_departure_is_told(world):
    """A user who left while the store lost its memory still gets an edge."""
    await world.process("p2")
    assert await world.disconnect("p2", "a", "1", grace=0, lost="p1") == 1
    assert await world.sweep("p2") == ["1"]


async def test_a_forgotten_departure_of_somebody_present_is_not_told(world):
    """A user with another connection has not left."""
    await world.process("p2")
    await world.connect("p2", "b", "1")
    assert await world.disconnect("p2", "a", "1", grace=0, lost="p1") == 0
    assert await world.sweep("p2") == []


async def test_a_departure_that_a_peer_has_told_is_not_told_again(world):
    """A process that was buried leaves no edges for itself to tell."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.die("p1")
    assert await world.sweep("p2") == ["1"]
    await world.process("p3")
    assert await world.disconnect("p3", "a", "1", grace=0, lost="p1") == 0
    assert await world.sweep("p2") == []


async def test_a_dead_process_is_buried_once(world):
    """Its users are offline at once, are told once, and leave no trace of it."""
    await world.process("p1", "p2", "p3")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    await world.connect("p2", "c", "2")
    await world.die("p1")
    assert await world.counts("1", "2") == [0, 1]
    assert await world.ask(base.OnlineCount()) in (None, 1)
    assert await world.sweep("p2") == ["1"]
    assert await world.sweep("p3") == []
    assert await world.renew("p1") is None


async def test_a_burial_leaves_the_graces_that_still_run(world):
    """Of who had a session on a living process, and left it a moment ago."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    await world.connect("p2", "c", "2")
    await world.die("p1")
    await world.disconnect("p2", keep=0)  # both were last seen long ago
    await world.disconnect("p2", "c", "2")
    silent_us = LONG_MS * 1000
    gone = await world.bury("p2", "p1", grace_us=silent_us - 1, silent_us=silent_us)
    assert gone == ["1"]
    assert [await world.told(key) for key in "12"] == [False, True]
    assert await world.counts("1", "2") == [0, 0]
    reply = await world.census("p2")
    assert reply.edges == []
    assert 0 < reply.next_due - reply.now < silent_us


async def test_a_burial_lets_a_long_grace_go_on(world):
    """From the death on, which was some time ago; who comes back within it is not told."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    await world.die("p1")
    grace = {"grace_us": LONG_MS * 1000, "silent_us": 0}
    assert await world.bury("p2", "p1", **grace) == []
    assert (await world.census("p2")).dead == []
    assert [await world.told(key) for key in "12"] == [True, True]
    assert await world.connect("p2", "c", "1") == ("ok", False)
    reply = await world.census("p2")
    assert reply.edges == []
    assert 0 < reply.next_due - reply.now < LONG_MS * 1000
    assert await world.connect("p2", "d", "2") == ("ok", False)


async def test_a_sweep_may_bury_one_process_alone(world):
    """The one that it names; other dead ones may be on their way back."""
    await world.process("p1", "p2", "p3")
    for process in ("p1", "p2"):
        await world.connect(process, process, process)
        await world.die(process)
    assert await world.bury("p3", "p2") == ["p2"]
    assert await world.sweep("p3") == ["p1"]


async def test_a_process_that_is_dead_itself_buries_nobody(world):
    """Neither itself nor others, who may have been cut off as it was."""
    await world.process("p1", "p2")
    for process in ("p1", "p2"):
        await world.connect(process, process, process)
        await world.die(process)
    assert await world.sweep("p1") == []


@pytest.mark.parametrize("connections", [1, 7, 30_000])
async def test_a_dead_process_of_any_size_is_buried_in_batches(world, connections):
    """Every user is told once, and the process is gone."""
    await world.process("p1", "p2")
    pairs = [f"{kind}{n}" for n in range(connections) for kind in ("conn", "user")]
    await world.restore("p1", "none", *pairs)
    await world.die("p1")
    gone = await world.sweep("p2")
    assert (await world.census("p2")).dead == []
    assert sorted(gone) == sorted(f"user{n}" for n in range(connections))


async def test_many_dead_processes_are_buried_in_one_go(world):
    """A sweep that has used up its batch says that there is more."""
    await world.process("p0", "p1", "p2", "p3")
    for process in ("p1", "p2", "p3"):
        await world.connect(process, process, process)
        await world.die(process)
    gone = await world.sweep("p0", batch=1)
    assert gone == ["p1", "p2", "p3"]


async def test_more_due_users_than_a_batch_are_told_in_rounds(world):
    """The sweep says that there is more until all are told."""
    await world.process("p1")
    for pk in "12345":
        await world.connect("p1", pk, pk)
        await world.disconnect("p1", pk, pk, grace=0)
    gone = await world.sweep("p1", batch=2)
    assert gone == list("12345")


async def test_restore_after_the_store_forgot_makes_no_edges(world):
    """Nobody was told offline, so nobody is told online."""
    await world.process("p2")
    assert await world.restore("p2", "p1", "a", "1", "b", "2") == []
    assert await world.counts("1", "2") == [1, 1]


async def test_restore_after_a_burial_tells_online(world):
    """Users told offline are told online again, unless another process has them."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    await world.connect("p2", "c", "2")
    await world.die("p1")
    assert await world.sweep("p2") == ["1"]
    await world.process("p3")
    assert await world.restore("p3", "p1", "a", "1", "b", "2") == ["1"]
    assert await world.counts("1", "2") == [1, 2]


async def test_restore_in_the_middle_of_a_burial_tells_online(world):
    """Users of a half-buried process get both edges; the others none."""
    await world.process("p1", "p2")
    pairs = [f"{kind}{n}" for n in range(2000) for kind in ("c", "u")]
    await world.restore("p1", "none", *pairs)
    await world.die("p1")
    gone = await world.bury("p2", "p1", batch=10, most=10)
    assert 0 < len(gone) < 2000
    await world.process("p3")
    back = await world.restore("p3", "p1", *pairs)
    assert sorted(back) == sorted(gone)
    assert await world.sweep("p2") == []


async def test_last_seen_is_kept_for_a_while(world):
    """It is written at the end of a connection and thrown away after the time to keep it."""
    await world.process("p1")
    assert await world.seen("1") is None
    await world.connect("p1", "a", "1")
    connected = await world.seen("1")
    await world.disconnect("p1", "a", "1", grace=0)
    assert await world.seen("1") > connected
    await world.disconnect("p1", grace=0, keep=0)
    assert await world.seen("1") is None


async def test_edges_carry_when_the_user_was_last_there(world):
    """An offline edge has the same `last_seen` as reading returns."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p2", "b", "2")
    await world.disconnect("p1", "a", "1", grace=0)
    await world.die("p2")
    reply = await world.census("p1")
    page = await world.ask(base.Records("p2", "0", 10))
    buried = await world.ask(base.Bury("p1", "p2", page.records))
    assert {edge.key: edge.last_seen for edge in [*reply.edges, *buried]} == {
        "1": await world.seen("1"),
        "2": await world.seen("2"),
    }


async def test_a_change_leaves_the_store_when_it_was_told(world):
    """A claim is not the telling: what a process did not tell before it died, another does."""
    await world.process("p1", "p2")
    reply = await world.ask(base.Connect("p1", "a", "1", 50, base.Token(age_us=0)))
    assert [(edge.key, edge.is_online) for edge in reply.edges] == [("1", True)]
    assert (await world.ask(base.Census("p2", LONG_MS, 500))).edges == []
    await world.die("p1")
    again = (await world.ask(base.Census("p2", LONG_MS, 500))).edges
    assert again == reply.edges
    await world.tell("p2", again)
    assert (await world.ask(base.Census("p2", LONG_MS, 500, own=True))).edges == []


async def test_a_change_whose_reply_was_lost_is_found_again(world):
    """A process asks for its own changes after a failure; it may have them in hand."""
    await world.process("p1")
    reply = await world.ask(base.Connect("p1", "a", "1", 50, base.Token(age_us=0)))
    assert (await world.ask(base.Census("p1", LONG_MS, 500))).edges == []
    assert (await world.ask(base.Census("p1", LONG_MS, 500, own=True))).edges == reply.edges


async def test_what_changes_while_a_change_is_told_is_told_next(world):
    """By the one that tells the first, so that the order is kept; there and back is nothing."""
    await world.process("p1", "p2")
    [came] = (await world.ask(base.Connect("p1", "a", "1", 50, base.Token(age_us=0)))).edges
    await world.disconnect("p1", "a", "1", grace=0)
    assert (await world.ask(base.Census("p2", LONG_MS, 500))).edges == []
    [went] = await world.ask(base.Told("p1", [("1", came.seq)]))
    assert (went.is_online, went.seq > came.seq) == (False, True)
    again = await world.ask(base.Connect("p2", "b", "1", 50, base.Token(age_us=0)))
    assert again.edges == []
    await world.disconnect("p2", "b", "1", grace=0)
    assert (await world.ask(base.Census("p2", LONG_MS, 500))).edges == []
    assert await world.ask(base.Told("p1", [("1", went.seq)])) == []


async def test_telling_what_another_tells_changes_nothing(world):
    """Neither another process nor an older number takes a change away."""
    await world.process("p1", "p2")
    [edge] = (await world.ask(base.Connect("p1", "a", "1", 50, base.Token(age_us=0)))).edges
    assert await world.ask(base.Told("p2", [("1", edge.seq)])) == []
    assert await world.ask(base.Told("p1", [("1", edge.seq - 1), ("2", edge.seq)])) == []
    assert (await world.ask(base.Census("p1", LONG_MS, 500, own=True))).edges == [edge]


async def test_missing_records_are_noticed(world, redis):
    """One count tells that the store has lost something of a process."""
    await world.process("p1")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    assert await world.ask(base.Intact("p1", ["1", "2"]))
    if world.store.shared:
        for name in ("user_ws.1.session", "user_ws.online", "user_ws.process.p1"):
            value = redis.dump(name)
            redis.delete(name)
            assert not await world.ask(base.Intact("p1", ["1", "2"])), name
            redis.restore(name, 0, value)
        assert await world.ask(base.Intact("p1", ["1", "2"]))


async def test_numbers_of_changes_grow_whatever_the_clock_does(clock, moved):
    """A failover to a machine with another clock hides no change from those who watch."""
    await moved.ask(base.Register("p1", 10**9))
    [first] = (await moved.ask(base.Connect("p1", "a", "1", 50, base.Token(age_us=0)))).edges
    clock.now -= 60
    [second] = (await moved.ask(base.Connect("p1", "b", "2", 50, base.Token(age_us=0)))).edges
    assert second.seq > first.seq
    assert second.at < first.at


async def test_release_leaves_nothing(world, redis):
    """A process that goes is forgotten, and so is whom it buried."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.die("p1")
    await world.sweep("p2")
    await world.ask(base.Release("p2"))
    assert await world.ask(base.Register("p3", LONG_MS)) is False
    await world.ask(base.Release("p3"))
    assert set(redis.keys("*")) <= {"user_ws.last_seen", "user_ws.seq"}


async def test_a_process_that_is_released_with_connections_is_dead(world):
    """It doesn't know of them, for the store has gone back in time: whoever comes buries it."""
    await world.process("p")
    await world.connect("p", "ghost", "1")
    await world.ask(base.Release("p"))
    assert await world.ask(base.Counts(["1"])) == [0]
    await world.process("q")
    assert (await world.census("q")).dead == ["p"]
    assert await world.bury("q", "p") == ["1"]
    assert (await world.census("q")).dead == []


async def test_sessions_older_than_a_revocation_are_refused(world):
    """Tokens by their time of issue; Django sessions by how long ago they were looked at."""
    await world.process("p1")
    await world.ask(base.RevokeBefore("1", 1_000_000, 60))
    assert (await world.connect("p1", "a", "1", token=base.Token(999_999)))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", token=base.Token()))[0] == "revoked"
    looked_before = base.Token(age_us=10**18)
    assert (await world.connect("p1", "a", "1", token=looked_before))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", token=base.Token(1_000_000)))[0] == "ok"
    assert (await world.connect("p1", "b", "1"))[0] == "ok"
    assert (await world.connect("p1", "c", "2", token=base.Token(1)))[0] == "ok"


async def test_revoking_tokens_alone_spares_django_sessions(world):
    """A Django session has no token; nor is an earlier moment for Django sessions taken back."""
    await world.ask(base.RevokeBefore("1", None, 60, cookies=False))
    looked_before = base.Token(age_us=10**9)
    assert await world.ask(base.Revoked([("1", looked_before), ("1", base.Token(5))])) == [
        False,
        True,
    ]
    await world.ask(base.RevokeBefore("1", None, 60))
    await world.ask(base.RevokeBefore("1", 5, 60))
    assert await world.ask(base.Revoked([("1", looked_before)])) == [True]


async def test_a_revocation_never_moves_back(world):
    """An earlier moment that is written later lets nobody in."""
    await world.ask(base.RevokeBefore("1", 2_000_000, 60))
    await world.ask(base.RevokeBefore("1", 1_000_000, 60))
    assert await world.is_void("1", 1_500_000)
    assert not await world.is_void("1", 2_000_000)


async def test_one_token_can_be_revoked(world):
    """By its id, whoever brings it."""
    await world.process("p1")
    await world.ask(base.RevokeToken("t1", 60))
    assert (await world.connect("p1", "a", "1", token=base.Token(5, "t1")))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", token=base.Token(5, "t2")))[0] == "ok"
    assert await world.is_void("1", 5, "t1")


@pytest.fixture
def others():
    """The store of another OS process, which knows of nobody yet."""
    return World(RedisStore(Host({"address": os.environ["REDIS_URL"]})))


@pytest.fixture
def own():
    """A store in Redis."""
    return World(RedisStore(Host({"address": os.environ["REDIS_URL"]})))


async def test_who_does_not_know_a_process_hears_of_it(own, others):
    """In the same question, whatever it is."""
    await own.process("p1")
    await own.connect("p1", "a", "1")
    assert await others.counts("1") == [1]
    await own.process("p2")
    await own.connect("p2", "b", "1")
    assert others.store.ask(base.Counts(["1"])) == [2]
    assert await others.connect("p1", "c", "2") == ("ok", True)  # in its name: it is alive
    assert (await others.census("p2")).has_peers


async def test_who_knows_a_process_that_is_gone_counts_it_not(own, others):
    """Released, or buried: its name in the question does no harm."""
    await own.process("p1", "p2", "p3")
    await own.connect("p1", "a", "1")
    assert await others.counts("1") == [1]
    await own.die("p1")
    assert await others.counts("1") == [0]
    assert await others.ask(base.OnlineCount()) is None
    await own.sweep("p2")
    await own.ask(base.Release("p3"))
    assert await others.counts("1") == [0]
    assert await others.ask(base.OnlineCount()) == 0
    assert await others.connect("p1", "b", "1") == ("lost", False)
    assert others.store._processes == ["p1", "p2", "p3"]


async def test_a_process_called_stale_and_a_user_too(own, others):
    """Names are data: no reply is taken for another because of them."""
    await own.process("stale")
    assert await others.connect("stale", "a", "stale") == ("ok", True)
    await others.connect("stale", "b", "2")
    await others.process("p2")
    await own.die("stale")
    assert await others.sweep("p2") == ["2", "stale"]
    assert await others.restore("p2", "stale", "a", "stale") == ["stale"]
    assert await own.ask(base.OnlineKeys("0", 9)) == (True, "0", ["stale"])


async def test_hundreds_of_processes(own, others):
    """No limit of Lua's is met."""
    names = [f"p{n}" for n in range(300)]
    await own.process(*names)
    await own.connect("p299", "a", "1")
    assert await others.counts("1") == [1]
    assert await others.ask(base.OnlineCount()) == 1


@pytest.fixture
def moved(clock):
    """The in-process store, by the moved clock."""
    return World(MemoryStore(clock))


async def test_the_memory_store_lets_leases_run_out(moved, clock):
    """A lease is good up to its last moment and can't be renewed after it."""
    await moved.ask(base.Register("p1", 10_000))
    await moved.connect("p1", "a", "1")
    clock.now += 9.9
    assert await moved.counts("1") == [1]
    assert await moved.renew("p1", 10_000) is False
    clock.now += 9.9
    assert await moved.counts("1") == [1]
    clock.now += 0.2
    assert await moved.counts("1") == [0]
    assert await moved.renew("p1", 10_000) is None


async def test_the_memory_store_waits_for_the_grace(moved, clock):
    """An edge is due when the grace is over, not before; `next_due` says when."""
    await moved.ask(base.Register("p1", 60_000))
    await moved.connect("p1", "a", "1")
    await moved.disconnect("p1", "a", "1")
    reply = await moved.census("p1")
    assert reply.next_due - reply.now == GRACE_US
    clock.now += 4.9
    assert await moved.sweep("p1") == []
    clock.now += 0.2
    assert await moved.sweep("p1") == ["1"]


async def test_the_memory_store_forgets_revocations(moved, clock):
    """After its time to live a revocation holds nobody up."""
    await moved.ask(base.RevokeBefore("1", 10**18, 60))
    await moved.ask(base.RevokeToken("t1", 60))
    clock.now += 59
    assert await moved.is_void("1", 5)
    assert await moved.is_void("2", 5, "t1")
    clock.now += 2
    assert not await moved.is_void("1", 5)
    assert not await moved.is_void("2", 5, "t1")


async def test_the_memory_store_keeps_last_seen_for_a_while(moved, clock):
    """Times older than the limit are removed at the next departure."""
    await moved.ask(base.Register("p1", 10**9))
    await moved.connect("p1", "a", "1")
    await moved.disconnect("p1", "a", "1")
    clock.now += 3601
    await moved.connect("p1", "b", "2")
    await moved.disconnect("p1", "b", "2")
    assert await moved.seen("1") is None
    assert await moved.seen("2") == int(clock.now * 1_000_000)


async def test_who_leaves_after_an_eviction_is_told(redis):
    """Redis dropped the session before anybody could look; the change is told all the same."""
    world = World(RedisStore(Host({"address": os.environ["REDIS_URL"]})))
    await world.process("p1")
    await world.connect("p1", "a", "1")
    redis.delete("user_ws.1.session")
    for _ in range(2):  # as after a lost reply
        await world.disconnect("p1", "a", "1", grace=0)
    assert await world.sweep("p1") == ["1"]
    await world.disconnect("p1", "a", "1", grace=0)
    assert await world.sweep("p1") == []
