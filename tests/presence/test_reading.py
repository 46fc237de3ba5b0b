"""Asking who is online: one round trip for any number, and a rule for a Redis that is away."""

import logging
import os
import socket
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
import redis as redis_py
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from bazis_ws_channels import presence
from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Connect, Disconnect, Register, Token
from tests.kit import until
from tests.presence.support import keys, open_all, round_trips

pytestmark = pytest.mark.usefixtures("loaded")


def test_any_number_of_users_costs_one_round_trip(redis, online):
    """Users or primary keys, one or two thousand."""
    online(1, 3)
    for users in ([1], range(1, 2001)):
        with round_trips(redis, 1):
            assert presence.online(users) == {1, 3} & set(users)
        with round_trips(redis, 1):
            assert sum(each.is_online for each in presence.statuses(users).values()) <= 2
        with round_trips(redis, 1):
            assert presence.last_seen(users)[1] is not None
        with round_trips(redis, 1):
            assert presence.count(users) == len({1, 3} & set(users))
    with round_trips(redis, 1):
        assert presence.online_users() == {1, 3}
    with round_trips(redis, 1):
        assert presence.online_count() == 2


def test_nobody_costs_nothing(redis):
    """No users, no question."""
    with round_trips(redis, 0):
        assert presence.online([]) == set()
        assert presence.statuses([]) == {}
        assert presence.last_seen([]) == {}
        assert presence.count([]) == 0


async def test_async_twins_answer_the_same(redis, online):
    """Each of them."""
    await sync_to_async(online)(1, 2)
    users = [1, 2, 3]
    assert await presence.aonline(users) == {1, 2}
    assert await presence.aonline_users() == {1, 2}
    assert await presence.aonline_count() == 2
    assert await presence.acount(users) == 2
    assert [each.is_online for each in (await presence.astatuses(users)).values()] == [
        True,
        True,
        False,
    ]
    assert (await presence.alast_seen(users))[3] is None


async def test_blocking_calls_on_an_event_loop_are_refused(alice):
    """The error names the async twin."""
    for ask in (lambda: alice.is_online, lambda: presence.online([alice]), presence.online_users):
        with pytest.raises(SynchronousOnlyOperation, match="aonline"):
            ask()


def test_instances_keys_and_duplicates(redis, online, alice, bob):
    """Users and their keys may be mixed; each counts once."""
    online(alice.pk)
    assert presence.online([alice, bob, alice.pk, alice]) == {alice.pk}
    with round_trips(redis, 1):
        assert presence.online(type(alice).objects.all()) == {alice.pk}


def test_one_user_instead_of_several_is_an_error(alice):
    """A string would be taken for its letters."""
    for one in (alice, "alice", b"alice"):
        with pytest.raises(TypeError, match="several users"):
            presence.online(one)


def test_an_unsaved_user_is_offline(redis, django_user_model):
    """It has no presence, and asking costs nothing."""
    user = django_user_model(username="new")
    with round_trips(redis, 0):
        assert user.is_online is False
        assert user.last_seen is None
        assert presence.online([user]) == set()
        assert presence.statuses([user]) == {}


def test_last_seen(online, alice, bob):
    """While online, now; afterwards the end; None if never."""
    online(alice.pk)
    now = datetime.now(UTC)
    assert abs(alice.last_seen - now) < timedelta(minutes=1)
    assert alice.last_seen < alice.last_seen
    get_store().ask(Disconnect("test", 0, 10**12, None, [(f"c{alice.pk}", str(alice.pk))]))
    assert alice.last_seen == alice.last_seen >= now - timedelta(minutes=1)
    assert bob.last_seen is None


async def test_last_seen_is_kept_for_the_setting(start, alice, bob, redis):
    """After that time a departure throws it away."""
    server = await start(BAZIS_WS_LAST_SEEN_SECONDS=0)
    async with AsyncExitStack() as stack:
        await open_all(stack, [(server, alice)])
        assert await sync_to_async(lambda: alice.last_seen)() is not None
    await until(lambda: not keys(redis))
    assert await sync_to_async(lambda: alice.last_seen)() is None


def test_prefetched_users_are_not_asked_about_again(redis, online, alice, bob):
    """They answer what was true then, until they are reloaded."""
    online(alice.pk)
    with round_trips(redis, 1):
        presence.prefetch([alice, bob])
        assert (alice.is_online, bob.is_online) == (True, False)
        assert (alice.last_seen is None, bob.last_seen) == (False, None)
    online(bob.pk)
    assert not bob.is_online
    bob.refresh_from_db()
    assert bob.is_online


def test_a_key_prefix_separates_projects(settings, online):
    """The same Redis, another prefix: nobody is online there."""
    online(1)
    settings.BAZIS_WS_KEY_PREFIX = "other:"
    assert presence.online_users() == set()
    online(2)
    assert presence.online_users() == {2}
    with redis_py.Redis.from_url(os.environ["REDIS_URL"]) as client:
        assert {b"user_ws.online", b"other:user_ws.online"} <= set(client.keys("*"))


# --- Redis out of reach ------------------------------------------------------------------------


@pytest.fixture
def silent_redis(settings):
    """A Redis that accepts connections and never answers; yields the number of them."""
    settings.BAZIS_WS_REDIS_TIMEOUT = 0.3
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.BAZIS_WS_REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}"
        yield server


@pytest.fixture
def no_redis(settings):
    """Nobody listens where Redis should be."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # so that nobody else has the port either
        settings.BAZIS_WS_REDIS_URL = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        yield


def page(users):
    """Ask about each of the users, as a careless template does."""
    return [user.is_online for user in users]


def test_a_page_waits_once_for_a_silent_redis(silent_redis, make_user, caplog):
    """Fifty users on a page don't mean fifty timeouts; the log says it once."""
    users = [make_user(f"user{n}") for n in range(50)]
    started_at = time.monotonic()
    assert page(users) == [False] * 50
    assert time.monotonic() - started_at < 2 * 0.3 + 1
    assert [each.levelno for each in _ours(caplog)] == [logging.ERROR]
    assert "out of reach" in caplog.text


def _ours(caplog):
    return [each for each in caplog.records if each.name == "bazis_ws_channels"]


def test_without_redis_everybody_is_offline(no_redis, alice, caplog):
    """Each way of asking has an answer that takes no page down."""
    assert (alice.is_online, alice.last_seen) == (False, None)
    assert presence.online([alice]) == set()
    assert presence.statuses([alice]) == {alice.pk: presence.Status()}
    assert presence.last_seen([alice]) == {alice.pk: None}
    assert (presence.online_users(), presence.online_count(), presence.count([1])) == (set(), 0, 0)
    presence.prefetch([alice])
    assert not alice.is_online
    assert len(_ours(caplog)) == 1


async def test_without_redis_async_code_gets_the_same(no_redis, alice, caplog):
    """The async twins follow the same rule."""
    assert await presence.aonline([alice]) == set()
    assert await presence.astatuses([alice]) == {alice.pk: presence.Status()}
    assert (await presence.aonline_users(), await presence.aonline_count()) == (set(), 0)
    assert len(_ours(caplog)) == 1


def test_without_redis_a_project_may_choose_an_error(no_redis, settings, alice):
    """Every call raises then, also those that don't ask because one has just failed."""
    settings.BAZIS_WS_PRESENCE_ON_ERROR = "raise"
    for _ in range(3):
        with pytest.raises(PresenceUnavailable, match=r"(?i)out of reach"):
            _ = alice.is_online
    with pytest.raises(PresenceUnavailable):
        presence.online_users()


async def test_reading_works_again_when_redis_is_back(own_redis, settings, caplog):
    """By itself, and the log says so once."""
    caplog.set_level(logging.INFO, logger="bazis_ws_channels")
    server = own_redis()
    settings.BAZIS_WS_REDIS_URL = server.url
    ask = sync_to_async(get_store().ask)

    async def count():
        return await sync_to_async(presence.online_count)()

    assert await count() == 0
    server.kill()
    assert await count() == 0
    server.start()
    await ask(Register("test", 60_000))
    await ask(Connect("test", "c", "1", 50, Token(age_us=0)))
    await until(count)
    assert await presence.aonline_users() == {1}
    assert [each.levelname for each in _ours(caplog)] == ["ERROR", "ERROR"]
