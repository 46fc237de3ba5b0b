"""The two stores answer every verb alike."""

import os

import pytest

from bazis_ws_channels.presence.memory import MemoryStore
from bazis_ws_channels.presence.redis import RedisStore
from bazis_ws_channels.presence.scripts import SCRIPTS
from tests.kit import until

LONG_MS = 60_000
GRACE_US = 5_000_000
KEEP_US = 3600 * 1_000_000


class World:
    """A store, with short names for what the tests ask of it."""

    def __init__(self, store):
        self.store = store

    def __call__(self, verb, *args):
        return self.store.acall(verb, *args)

    async def process(self, *names):
        """Register processes."""
        for name in names:
            await self("register", name, LONG_MS)

    async def connect(self, process, conn, pk, limit=50, issued="", jti="", age="0"):
        """Connect; return the verdict and whether the user came online."""
        reply = await self("connect", process, conn, pk, limit, issued, jti, age)
        return tuple(reply[:2])

    async def disconnect(self, process, *pairs, grace=GRACE_US, lost=""):
        """Disconnect; return whether anybody's last connection went."""
        return await self("disconnect", process, grace, KEEP_US, lost, *pairs)

    async def sweep(self, process, batch=500, whom="*"):
        """Sweep; return ``(more, is_grace_running, has_peers, users told offline)``."""
        _, more, next_due, peers, gone = await self("sweep", process, batch, whom)
        return more, bool(next_due), peers, sorted(gone[::2])

    async def die(self, process):
        """Let the lease of a process run out."""
        await self("renew", process, 1)

        async def is_dead():
            return (await self.connect(process, "probe", "probe", limit=0))[0] == "lost"

        await until(is_dead)

    async def told(self, pk):
        """Return whether the user counts as told online."""
        return (await self("told", pk))[1] == 1

    async def seen(self, pk):
        """Return the stored time of the user's last connection, as text."""
        return (await self("status", pk))[2]


@pytest.fixture(params=["redis", "memory"])
def world(request):
    """A store of each kind."""
    if request.param == "memory":
        return World(MemoryStore())
    return World(RedisStore({"address": os.environ["REDIS_URL"]}))


async def test_both_stores_know_every_verb(world):
    """Each verb that the scripts name is answered, by blocking and by async code alike."""
    await world.process("p")
    arguments = {
        "register": ("p", LONG_MS),
        "renew": ("p", LONG_MS),
        "restore": ("p", "old"),
        "connect": ("p", "c", "1", 50, "", "", "0"),
        "disconnect": ("p", 0, KEEP_US, ""),
        "sweep": ("p", 10, "*"),
        "status": ("1",),
        "count": ("1",),
        "told": ("1",),
        "online_users": (),
        "online_count": (),
        "revoke_before": ("9", 1, 60),
        "revoke_token": ("jti", 60),
        "is_revoked": ("1", "", ""),
    }
    assert set(arguments) | {"release"} == set(SCRIPTS) | {"renew"}
    for verb, args in arguments.items():
        blocking = world.store.call(verb, *args)
        assert type(blocking) is type(await world(verb, *args)), verb
    assert world.store.call("release", "p") == await world("release", "p") == 1


async def test_register_tells_of_peers(world):
    """The first process is alone; the second hears of it, and it of the second."""
    assert await world("register", "p1", LONG_MS) == "alone"
    assert await world("renew", "p1", LONG_MS) == "alone"
    assert await world("register", "p2", LONG_MS) == "peers"
    assert await world("renew", "p1", LONG_MS) == "peers"


async def test_peers_that_are_gone_are_forgotten(world):
    """A sweep that finds no other process says so, and so does the next renewal."""
    await world.process("p1", "p2")
    await world.die("p2")
    assert (await world.sweep("p1"))[2] == 0
    assert await world("renew", "p1", LONG_MS) == "alone"


async def test_renew_of_a_lost_lease_is_refused(world):
    """A lease that ran out can't be renewed, and never was one for an unknown process."""
    await world.process("p1")
    await world.die("p1")
    assert await world("renew", "p1", LONG_MS) is None
    assert await world("renew", "never", LONG_MS) is None


async def test_only_the_first_connection_brings_online(world):
    """A second tab, on any process, is no news."""
    await world.process("p1", "p2")
    assert await world.connect("p1", "a", "1") == ("ok", 1)
    assert await world.connect("p1", "b", "1") == ("ok", 0)
    assert await world.connect("p2", "c", "1") == ("ok", 0)
    assert await world("count", "1", "2") == [3, 0]


async def test_connecting_again_changes_nothing(world):
    """The same connection of the same process counts once."""
    await world.process("p1")
    await world.connect("p1", "a", "1")
    assert await world.connect("p1", "a", "1") == ("ok", 0)
    assert await world("count", "1") == [1]


async def test_a_process_without_lease_cannot_connect(world):
    """The process is told that it is lost, and nothing is written."""
    assert await world.connect("never", "a", "1") == ("lost", 0)
    assert await world("count", "1") == [0]
    assert not await world.told("1")


async def test_the_limit_counts_live_connections_only(world):
    """Connections of a dead process don't lock a user out."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1", limit=1)
    assert await world.connect("p2", "b", "1", limit=1) == ("too_many", 0)
    await world.die("p1")
    assert await world.connect("p2", "b", "1", limit=1) == ("ok", 0)


async def test_offline_is_told_once_after_the_grace(world):
    """The last connection gone: told online during the grace, then offline by one sweep."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p2", "b", "1")
    assert await world.disconnect("p1", "a", "1") == 0
    assert await world("count", "1") == [1]
    assert await world.disconnect("p2", "b", "1") == 1
    assert await world("count", "1") == [0]
    assert await world.told("1")
    assert await world.sweep("p1") == (0, True, 1, [])
    await world.connect("p1", "a", "1")
    await world.disconnect("p1", "a", "1", grace=0)
    assert await world.sweep("p2") == (0, False, 1, ["1"])
    assert await world.sweep("p1") == (0, False, 1, [])
    assert not await world.told("1")


async def test_back_within_the_grace_is_no_news(world):
    """A reload makes no edge, either way."""
    await world.process("p1")
    await world.connect("p1", "a", "1")
    await world.disconnect("p1", "a", "1")
    assert await world.connect("p1", "b", "1") == ("ok", 0)
    assert await world.sweep("p1") == (0, False, 0, [])


async def test_disconnecting_what_is_unknown_changes_nothing(world):
    """Neither a connection that never was nor another process's is taken off."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    assert await world.disconnect("p2", "a", "1", "never", "1", "x", "2", grace=0) == 0
    assert await world("count", "1") == [1]
    assert (await world.sweep("p1"))[3] == []


async def test_a_forgotten_departure_is_told(world):
    """Where the store lost its memory, a user who left meanwhile still gets an edge."""
    await world.process("p2")
    assert await world.disconnect("p2", "a", "1", grace=0, lost="p1") == 1
    assert (await world.sweep("p2"))[3] == ["1"]


async def test_a_forgotten_departure_of_somebody_present_is_not_told(world):
    """Who has another connection has not left."""
    await world.process("p2")
    await world.connect("p2", "b", "1")
    assert await world.disconnect("p2", "a", "1", grace=0, lost="p1") == 0
    assert (await world.sweep("p2"))[3] == []


async def test_a_departure_that_a_peer_has_told_is_not_told_again(world):
    """A process that was buried leaves no edges for itself to tell."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.die("p1")
    assert (await world.sweep("p2"))[3] == ["1"]
    await world.process("p3")
    assert await world.disconnect("p3", "a", "1", grace=0, lost="p1") == 0
    assert (await world.sweep("p2"))[3] == []


async def test_a_dead_process_is_buried_once(world):
    """Its users are offline at once, are told once, and leave no trace of it."""
    await world.process("p1", "p2", "p3")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    await world.connect("p2", "c", "2")
    await world.die("p1")
    assert await world("count", "1", "2") == [0, 1]
    assert await world("online_users") == ["2"]
    assert await world("online_count") == 1
    assert (await world.sweep("p2", whom=""))[3] == []
    assert (await world.sweep("p2", whom="p3"))[3] == []
    assert (await world.sweep("p2"))[3] == ["1"]
    assert (await world.sweep("p3"))[3] == []
    assert await world("renew", "p1", LONG_MS) is None


async def test_a_sweep_may_bury_one_process_alone(world):
    """The one that it names; other dead ones may be on their way back."""
    await world.process("p1", "p2", "p3")
    for process in ("p1", "p2"):
        await world.connect(process, process, process)
        await world.die(process)
    assert (await world.sweep("p3", whom="p2"))[3] == ["p2"]
    assert (await world.sweep("p3"))[3] == ["p1"]


async def test_a_process_that_is_dead_itself_buries_nobody(world):
    """Neither itself nor others, who may have been cut off as it was."""
    await world.process("p1", "p2")
    for process in ("p1", "p2"):
        await world.connect(process, process, process)
        await world.die(process)
    assert (await world.sweep("p1"))[3] == []


@pytest.mark.parametrize("connections", [1, 7, 30_000])
async def test_a_dead_process_of_any_size_is_buried_in_batches(world, connections):
    """Every user is told once, in a bounded number of sweeps."""
    await world.process("p1", "p2")
    pairs = [f"{kind}{n}" for n in range(connections) for kind in ("conn", "user")]
    await world("restore", "p1", "none", *pairs)
    await world.die("p1")
    gone, more, sweeps = [], 1, 0
    while more:
        sweeps += 1
        assert sweeps <= connections / 500 + 10, "the sweep makes no progress"
        more, _, _, users = await world.sweep("p2")
        gone += users
    assert sorted(gone) == sorted(f"user{n}" for n in range(connections))


async def test_many_dead_processes_are_buried_in_one_go(world):
    """A sweep that has used up its batch says that there is more."""
    await world.process("p0", "p1", "p2", "p3")
    for process in ("p1", "p2", "p3"):
        await world.connect(process, process, process)
        await world.die(process)
    gone, more = [], 1
    while more:
        more, _, _, users = await world.sweep("p0", batch=1)
        gone += users
    assert sorted(gone) == ["p1", "p2", "p3"]


async def test_more_due_users_than_a_batch_are_told_in_rounds(world):
    """The sweep says that there is more until all are told."""
    await world.process("p1")
    for pk in "12345":
        await world.connect("p1", pk, pk)
        await world.disconnect("p1", pk, pk, grace=0)
    gone, more = [], 1
    while more:
        more, _, _, users = await world.sweep("p1", batch=2)
        gone += users
    assert sorted(gone) == list("12345")


async def test_restore_after_the_store_forgot_makes_no_edges(world):
    """Nobody was told offline, so nobody is told online."""
    await world.process("p2")
    assert (await world("restore", "p2", "p1", "a", "1", "b", "2"))[1] == []
    assert await world("count", "1", "2") == [1, 1]


async def test_restore_after_a_burial_tells_online(world):
    """Who was told offline is told online again, unless another process has them."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p1", "b", "2")
    await world.connect("p2", "c", "2")
    await world.die("p1")
    assert (await world.sweep("p2"))[3] == ["1"]
    await world.process("p3")
    assert (await world("restore", "p3", "p1", "a", "1", "b", "2"))[1] == ["1"]
    assert await world("count", "1", "2") == [1, 2]


async def test_restore_in_the_middle_of_a_burial_tells_online(world):
    """Users of a half-buried process get both edges; the others none."""
    await world.process("p1", "p2")
    pairs = [f"{kind}{n}" for n in range(2000) for kind in ("c", "u")]
    await world("restore", "p1", "none", *pairs)
    await world.die("p1")
    more, _, _, gone = await world.sweep("p2", batch=10)
    assert more == 1
    assert 0 < len(gone) < 2000
    await world.process("p3")
    back = (await world("restore", "p3", "p1", *pairs))[1]
    assert sorted(back) == sorted(gone)
    assert (await world.sweep("p2", batch=5000))[3] == []


async def test_last_seen_is_kept_for_a_while(world):
    """It is written at the end of a connection and thrown away after the time to keep it."""
    await world.process("p1")
    assert await world.seen("1") == ""
    await world.connect("p1", "a", "1")
    connected = float(await world.seen("1"))
    await world.disconnect("p1", "a", "1", grace=0)
    assert float(await world.seen("1")) > connected
    await world("disconnect", "p1", 0, 0, "")
    assert await world.seen("1") == ""


async def test_edges_carry_when_the_user_was_last_there(world):
    """What is told with an offline edge is what reading answers."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.connect("p2", "b", "2")
    await world.disconnect("p1", "a", "1", grace=0)
    await world.die("p2")
    gone = (await world("sweep", "p1", 500, "*"))[4]
    told = dict(zip(gone[::2], gone[1::2], strict=True))
    assert {pk: float(at) for pk, at in told.items()} == {
        "1": float(await world.seen("1")),
        "2": float(await world.seen("2")),
    }


async def test_release_leaves_nothing(world, redis):
    """A process that goes is forgotten, and so is whom it buried."""
    await world.process("p1", "p2")
    await world.connect("p1", "a", "1")
    await world.die("p1")
    await world.sweep("p2")
    await world("release", "p2")
    assert await world("register", "p3", LONG_MS) == "alone"
    await world("release", "p3")
    assert set(redis.keys("*")) <= {"user_ws.last_seen"}


async def test_sessions_older_than_a_revocation_are_refused(world):
    """Tokens by their time of issue; Django sessions by how long ago they were looked at."""
    await world.process("p1")
    await world("revoke_before", "1", 1_000_000, 60)
    assert (await world.connect("p1", "a", "1", issued="999999", age=""))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", issued="", age=""))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", age="60000000"))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", issued="1000000", age=""))[0] == "ok"
    assert (await world.connect("p1", "b", "1", age="0"))[0] == "ok"
    assert (await world.connect("p1", "c", "2", issued="1", age=""))[0] == "ok"


async def test_a_revocation_never_moves_back(world):
    """An earlier moment that is written later lets nobody in."""
    await world("revoke_before", "1", 2_000_000, 60)
    await world("revoke_before", "1", 1_000_000, 60)
    assert await world("is_revoked", "1", "1500000", "") == 1
    assert await world("is_revoked", "1", "2000000", "") == 0


async def test_one_token_can_be_revoked(world):
    """By its id, whoever brings it."""
    await world.process("p1")
    await world("revoke_token", "t1", 60)
    assert (await world.connect("p1", "a", "1", issued="5", jti="t1", age=""))[0] == "revoked"
    assert (await world.connect("p1", "a", "1", issued="5", jti="t2", age=""))[0] == "ok"
    assert await world("is_revoked", "1", "5", "t1") == 1


class Clock:
    """A clock that stands until it is moved."""

    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock to move."""
    return Clock()


@pytest.fixture
def moved(clock):
    """The in-process store, by the moved clock."""
    return World(MemoryStore(clock))


async def test_the_memory_store_lets_leases_run_out(moved, clock):
    """A lease is good up to its last moment and can't be renewed after it."""
    await moved("register", "p1", 10_000)
    await moved.connect("p1", "a", "1")
    clock.now += 9.9
    assert await moved("count", "1") == [1]
    assert await moved("renew", "p1", 10_000) == "alone"
    clock.now += 9.9
    assert await moved("count", "1") == [1]
    clock.now += 0.2
    assert await moved("count", "1") == [0]
    assert await moved("renew", "p1", 10_000) is None


async def test_the_memory_store_waits_for_the_grace(moved, clock):
    """An edge is due when the grace is over, not before; `next_due` says when."""
    await moved("register", "p1", 60_000)
    await moved.connect("p1", "a", "1")
    await moved.disconnect("p1", "a", "1")
    reply = await moved("sweep", "p1", 500, "*")
    assert float(reply[2]) - float(reply[0]) == GRACE_US
    clock.now += 4.9
    assert (await moved.sweep("p1"))[3] == []
    clock.now += 0.2
    assert (await moved.sweep("p1"))[3] == ["1"]


async def test_the_memory_store_forgets_revocations(moved, clock):
    """After its time to live a revocation holds nobody up."""
    await moved("revoke_before", "1", 10**18, 60)
    await moved("revoke_token", "t1", 60)
    clock.now += 59
    assert await moved("is_revoked", "1", "5", "") == 1
    assert await moved("is_revoked", "2", "5", "t1") == 1
    clock.now += 2
    assert await moved("is_revoked", "1", "5", "") == 0
    assert await moved("is_revoked", "2", "5", "t1") == 0


async def test_the_memory_store_keeps_last_seen_for_a_while(moved, clock):
    """What is older than the time to keep it is gone with the next departure."""
    await moved("register", "p1", 10**9)
    await moved.connect("p1", "a", "1")
    await moved.disconnect("p1", "a", "1")
    clock.now += 3601
    await moved.connect("p1", "b", "2")
    await moved.disconnect("p1", "b", "2")
    assert await moved.seen("1") == ""
    assert await moved.seen("2") == str(int(clock.now * 1_000_000))
