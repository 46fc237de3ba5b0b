"""Reading presence: twins, rounds, and a store that is away."""

import asyncio
from datetime import UTC, datetime

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from bazis_ws_channels import presence
from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence import queries
from bazis_ws_channels.presence.stores.base import (
    Connect,
    Counts,
    Disconnect,
    OnlineCount,
    OnlineKeys,
    OnlineReply,
    Register,
    Statuses,
    Token,
)
from bazis_ws_channels.presence.stores.redis import RedisStore
from bazis_ws_channels.redis.breaker import Breaker
from bazis_ws_channels.redis.hosts import Host


@pytest.fixture(autouse=True)
def reader(monkeypatch, clock):
    """A reader of the test's own, by its clock."""
    reader = queries._Reader()
    monkeypatch.setattr(queries, "_reader", reader)
    monkeypatch.setattr(queries, "Breaker", lambda: Breaker(clock))
    return reader


@pytest.fixture
def online(store, clock):
    """User 1 has two connections, user 2 had one."""
    store.ask(Register("p", 10**9))
    for connection, key in (("a", "1"), ("b", "1"), ("c", "2")):
        store.ask(Connect("p", connection, key, 9, Token(age_us=0)))
    store.ask(Disconnect("p", 5_000_000, 10**15, None, [("c", "2")]))
    clock.move(10)
    store.kinds()
    return store


#: Each function, what it gets, what it answers.
ANSWERS = [
    ("online", [[1, 2, 3]], {1}),
    ("online_users", [], {1}),
    ("online_count", [], 1),
    ("count", [[1, 2, "1"]], 2),
    (
        "last_seen",
        [[1, 2, 3]],
        {
            1: datetime.fromtimestamp(1010, UTC),
            2: datetime.fromtimestamp(1000, UTC),
            3: None,
        },
    ),
    (
        "statuses",
        [[1, 3]],
        {
            1: presence.Status(True, datetime.fromtimestamp(1010, UTC)),
            3: presence.Status(),
        },
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "answer"), ANSWERS, ids=lambda value: f"{value}"[:12]
)
def test_twins_answer_the_same(online, name, arguments, answer):
    """Sync and async, one question each."""
    assert getattr(presence, name)(*arguments) == answer
    assert len(online.kinds()) == 1
    assert asyncio.run(getattr(presence, f"a{name}")(*arguments)) == answer
    assert len(online.kinds()) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "answer"), ANSWERS, ids=lambda value: f"{value}"[:12]
)
async def test_blocking_calls_on_a_loop_name_their_twin(store, name, arguments, answer):
    """As Django's ORM does."""
    twin = "astatuses" if name == "last_seen" else f"a{name}"
    with pytest.raises(SynchronousOnlyOperation, match=f"presence.{twin}"):
        getattr(presence, name)(*arguments)


async def test_many_users_are_asked_about_in_rounds(online, monkeypatch):
    """With a turn of the loop between them."""
    monkeypatch.setattr(queries, "_ROUND", 2)
    assert await presence.aonline([1, 2, 3, 4, 5]) == {1}
    assert [len(question.keys) for question in online.asked] == [2, 2, 1]
    assert await presence.acount([1, 2, 3]) == 2
    assert len(await presence.astatuses([1, 2, 3])) == 3


def test_nobody_costs_nothing(online):
    """No question is asked."""
    assert presence.online([]) == set()
    assert presence.statuses([]) == {}
    assert presence.count([]) == 0
    presence.prefetch([])
    assert online.asked == []


def test_unsaved_users_are_offline(online, make_user):
    """And are left out of what is asked."""
    assert presence.online([make_user(None), 1]) == {1}
    assert presence.online([make_user(None)]) == set()


@pytest.mark.parametrize("one", ["alice", b"1", 1])
def test_one_user_is_not_several(one):
    """The commonest slip."""
    with pytest.raises(TypeError, match="expected several users"):
        presence.online(one)


def test_prefetched_users_are_not_asked_about_again(online, make_user):
    """Theirs is the moment of the prefetching."""
    alice, bob = make_user(1), make_user(2)
    presence.prefetch([alice, bob])
    online.kinds()
    assert (alice.is_online, bob.is_online) == (True, False)
    assert bob.last_seen == datetime.fromtimestamp(1000, UTC)
    assert online.asked == []


class Unsure:
    """A store in which some process is dead, so that counting must look closer, page by page."""

    def __init__(self, store):
        self.store = store

    def ask(self, question):
        """Answer as Redis does then."""
        match question:
            case OnlineKeys("0"):
                return OnlineReply(False, "7", ["1"])
            case OnlineKeys("7"):
                return OnlineReply(False, "0", ["2", "1"])
            case OnlineCount():
                return None
        return self.store.ask(question)

    async def aask(self, question):
        """Answer."""
        return self.ask(question)


def test_where_a_process_is_dead_counting_looks_closer(online, monkeypatch):
    """At each user's connections."""
    unsure = Unsure(online)
    monkeypatch.setattr(queries, "get_store", lambda: unsure)
    assert presence.online_users() == {1}
    assert presence.online_count() == 1
    assert asyncio.run(presence.aonline_users()) == {1}
    assert asyncio.run(presence.aonline_count()) == 1
    assert online.kinds() == [Counts] * 8


def test_a_namespace_sees_its_own_users(online, settings):
    """Also when it counts."""
    settings.BAZIS_WS_NAMESPACE = "north"
    online.ask(Connect("p", "d", "north|7", 9, Token(age_us=0)))
    assert presence.online_users() == {7}
    assert presence.online_count() == 1
    assert asyncio.run(presence.aonline_count()) == 1
    assert presence.online([1, 7]) == {7}


@pytest.fixture
def away(online):
    """The store does not answer."""
    online.is_away = True
    return online


OFFLINE = {
    "online": set(), "online_users": set(), "online_count": 0, "count": 0,
    "last_seen": {1: None, 2: None, 3: None},
    "statuses": {1: presence.Status(), 3: presence.Status()},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "answer"), ANSWERS, ids=lambda value: f"{value}"[:12]
)
def test_a_store_that_is_away_shows_everybody_offline(away, name, arguments, answer, caplog, clock):
    """Asked once a second, logged once; right again when it is back."""
    twins = [getattr(presence, name), getattr(presence, f"a{name}")]
    sync, with_loop = twins[0], lambda *args: asyncio.run(twins[1](*args))
    for read in (sync, with_loop, sync):
        assert read(*arguments) == OFFLINE[name]
    assert len(away.kinds()) == 1
    clock.move(1.1)
    assert with_loop(*arguments) == OFFLINE[name]
    assert len(away.kinds()) == 1
    assert caplog.text.count("The presence store failed") == 1
    assert "Reading answers 'offline'" in caplog.text
    away.is_away = False
    clock.move(1.1)
    before = sync(*arguments)
    clock.move(-2.2)
    assert type(before) is type(answer)
    assert caplog.text.count("The presence store is back") == 1


@pytest.mark.parametrize(
    ("name", "arguments", "answer"), ANSWERS, ids=lambda value: f"{value}"[:12]
)
def test_a_project_may_choose_an_error(away, settings, name, arguments, answer):
    """At once, for the second after the first."""
    settings.BAZIS_WS_PRESENCE_ON_ERROR = "raise"
    for says in ("away", "a moment ago"):
        with pytest.raises(PresenceUnavailable, match=says):
            getattr(presence, name)(*arguments)
        with pytest.raises(PresenceUnavailable, match="a moment ago"):
            asyncio.run(getattr(presence, f"a{name}")(*arguments))


def test_counting_for_publishing_never_fails(away, settings):
    """Publishing must not fail for it."""
    settings.BAZIS_WS_PRESENCE_ON_ERROR = "raise"
    assert queries.count_quietly(["1"]) == 0
    assert asyncio.run(queries.acount_quietly(["1"])) == 0


def test_counting_in_the_publishers_round_trip(online, monkeypatch, settings):
    """Only where presence is in Redis; what can't be read in the reply is asked again."""
    assert queries.counting(["1"]) is None
    redis = RedisStore(Host({"host": "nowhere"}))
    monkeypatch.setattr(queries, "get_store", lambda: redis)
    assert queries.counting([]) is None
    count = queries.counting(["1", "2"])
    assert count.command == (redis.host, redis.command(Counts(["1", "2"])))
    assert count.result([2, 1]) == 3
    assert count.result([b"stale", [b"p"]]) is None
    assert count.result(None) is None
    settings.BAZIS_WS_PRESENCE_ON_ERROR = "raise"
    assert count.result(OSError("gone")) == 0
    assert queries.counting(["1"]) is None  # it has just failed


def test_statuses_ask_for_what_they_need(online):
    """Kinds of questions."""
    presence.statuses([1])
    presence.online([1])
    assert online.kinds() == [Statuses, Counts]
