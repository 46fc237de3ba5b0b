"""The in-process store, where its clock must be moved or threads meet.

What it shares with Redis is in tests/presence/test_store.py.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from bazis_ws_channels.presence.stores import base, forget_store, get_store
from bazis_ws_channels.presence.stores.memory import _ANSWERS, MemoryStore
from bazis_ws_channels.presence.stores.redis import RedisStore

FRESH = base.Token(age_us=0)


@pytest.fixture
def store(clock):
    """With one process."""
    store = MemoryStore(clock)
    store.ask(base.Register("p", 10_000))
    return store


def connect(store, process, connection, key, limit=9):
    """Connect."""
    return store.ask(base.Connect(process, connection, key, limit, FRESH))


def test_it_answers_every_question():
    """As many as there are."""
    kinds = {kind for kind in vars(base).values() if isinstance(kind, type)}
    questions = {kind for kind in kinds if issubclass(kind, base.Question)} - {base.Question}
    assert set(_ANSWERS) == questions
    assert not MemoryStore.shared


def test_a_lease_ends_at_its_moment(store, clock):
    """Not before."""
    clock.move(9.99)
    assert store.ask(base.Renew("p", 10_000)) is False
    clock.move(10)
    assert store.ask(base.Renew("p", 10_000)) is None
    assert connect(store, "p", "a", "1").verdict == "lost"


def test_graces_end_in_order_and_in_batches(store, clock):
    """The earliest first; `more` says that there are others, `next_due` when the next ends."""
    for n in range(4):
        store.ask(base.Disconnect("p", (4 - n) * 1_000_000, 10**15, "x", [(f"c{n}", f"{n}")]))
    clock.move(3)
    reply = store.ask(base.Census("p", 10_000, 2))
    assert [edge.key for edge in reply.edges] == ["3", "2"]
    assert reply.more
    reply = store.ask(base.Census("p", 10_000, 2))
    assert [edge.key for edge in reply.edges] == ["1"]
    assert not reply.more
    assert reply.next_due - reply.now == 1_000_000


def test_a_change_of_the_dead_is_told_by_who_makes_the_next(store, clock):
    """The first is told first."""
    store.ask(base.Register("q", 60_000))
    [came] = connect(store, "p", "a", "1").edges
    clock.move(11)
    store.ask(base.Disconnect("p", 0, 10**15, None, [("a", "1")]))
    reply = store.ask(base.Census("q", 60_000, 9))
    assert reply.edges[0] == came
    [went] = store.ask(base.Told("q", [("1", came.seq)]))
    assert not went.is_online
    assert store.ask(base.Told("q", [("1", went.seq)])) == []


def test_revoking_by_now_and_by_a_moment(store, clock):
    """The answer is the moment; a short revocation does not shorten a long one."""
    now = int(clock.now * 1_000_000)
    assert store.ask(base.RevokeBefore("1", None, 100)) == now
    assert store.ask(base.RevokeBefore("1", 5, 1)) == 5
    clock.move(50)
    token = base.Token(issued_us=now - 1)
    assert store.ask(base.Revoked([("1", token), ("2", token)])) == [True, False]
    assert store.ask(base.Revoked([("1", base.Token(issued_us=now))])) == [False]
    assert store.ask(base.Revoked([("1", base.Token(age_us=50_000_001))])) == [True]
    assert store.ask(base.Revoked([("1", base.Token(age_us=49_999_999))])) == [False]
    clock.move(51)
    assert store.ask(base.Revoked([("1", token)])) == [False]


def test_threads_take_turns(store):
    """A limit holds whoever comes at the same time."""
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(
            pool.map(lambda n: connect(store, "p", f"c{n}", "1", 5).verdict, range(200))
        )
    assert verdicts.count("ok") == 5
    assert store.ask(base.Counts(["1"])) == [5]


def test_the_process_has_one_store(settings):
    """Until the settings name another."""
    forget_store()
    assert isinstance(get_store(), MemoryStore)
    assert get_store() is get_store()
    settings.BAZIS_WS_REDIS_URL = "redis://nowhere"
    assert isinstance(get_store(), RedisStore)
    settings.BAZIS_WS_MAX_WATCHED = 1  # no matter to the store
    assert get_store() is get_store()


def test_burying_in_parts(store, clock):
    """The process stays until its last record is gone; whoever else is there stays online."""
    store.ask(base.Register("q", 60_000))
    for n in range(3):
        connect(store, "p", f"c{n}", f"{n}")
    connect(store, "q", "own", "2")
    clock.move(11)
    records = store.ask(base.Records("p", "0", 9)).records
    assert len(records) == 3
    store.ask(base.Bury("q", "p", records[:1]))
    assert store.ask(base.Records("p", "0", 9)).records == records[1:]
    store.ask(base.Bury("q", "p", records[1:]))
    assert store.ask(base.Census("q", 60_000, 9)).dead == []
    assert store.ask(base.OnlineKeys("0", 9)) == (True, "0", ["2"])
    assert store.ask(base.Bury("q", "p", records)) == []  # again: nothing is left
    assert store.ask(base.Bury("q", "q", [])) == []  # it lives
    assert store.ask(base.Records("never", "0", 9)).records == []


def test_noting_what_is_not_there(store):
    """Another number, another process, or nobody."""
    [edge] = connect(store, "p", "a", "1").edges
    told = [("1", edge.seq + 1), ("2", edge.seq)]
    assert store.ask(base.Told("p", told)) == []
    assert store.ask(base.Told("q", [("1", edge.seq)])) == []
    assert store.ask(base.Census("p", 10_000, 9, own=True)).edges == [edge]
