"""Sign-ins: in order, many in one query, each for itself; refused early where it can't be soon."""

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.signals import connection_created

from bazis_ws_channels.auth import keyring, tokens
from bazis_ws_channels.auth.arrivals import Arrivals, aauthenticate
from bazis_ws_channels.auth.identity import identify_all
from bazis_ws_channels.auth.threads import DatabaseThread
from bazis_ws_channels.exceptions import AuthenticationFailed, ServerBusy, TokenError
from tests.kit import Client, RawSocket
from tests.sessions import callables
from tests.sessions.forging import sign


def claims(user):
    """Return verified claims."""
    return tokens.Claims(user, int(time.time()) + 60, None, None)


class Database:
    """What serves the queue in a thread: notes each batch, and waits where it is told to."""

    def __init__(self):
        self.batches = []
        self.began = threading.Semaphore(0)
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, several):
        self.batches.append([each.user for each in several])
        self.began.release()
        assert self.may_answer.wait(20)
        return identify_all(several)

    async def has_begun(self):
        """Wait until a batch has begun."""
        assert await asyncio.to_thread(self.began.acquire, timeout=20)


@pytest.fixture
async def queue():
    """A queue whose clock and database are a test's own."""
    database, now = Database(), [time.monotonic()]
    arrivals = Arrivals(database, lambda: now[0])
    arrivals.database, arrivals.now = database, now
    yield arrivals
    database.may_answer.set()
    await arrivals.close()


async def test_who_comes_together_shares_a_query(queue, make_user):
    """One query for all who come in one turn of the loop, and for all who came meanwhile."""
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(20)]
    queue.database.may_answer.clear()
    first = [asyncio.create_task(queue.identify(claims(user.username))) for user in users[:5]]
    await queue.database.has_begun()
    rest = [asyncio.create_task(queue.identify(claims(user.username))) for user in users[5:]]
    await asyncio.sleep(0)
    queue.database.may_answer.set()
    found = await asyncio.gather(*first, *rest)
    assert [identity.user for identity in found] == users
    names = [user.username for user in users]
    assert queue.database.batches == [names[:5], names[5:]]


@pytest.mark.parametrize(("moment", "batches"), [(0.0, [5]), (0.002, [4, 1]), (1.0, [2, 3])])
async def test_who_comes_right_behind_shares_the_query(queue, make_user, moment, batches):
    """While each turn of the loop brings somebody, and for some milliseconds at most."""
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(5)]
    asked = []
    for user in users:
        asked.append(asyncio.create_task(queue.identify(claims(user.username))))
        await asyncio.sleep(0)
        queue.now[0] += moment
    assert [identity.user for identity in await asyncio.gather(*asked)] == users
    assert [len(batch) for batch in queue.database.batches] == batches


def test_one_query_for_a_batch(make_user, django_assert_num_queries):
    """`identify_all` asks once for users who are there."""
    several = [claims(make_user(f"user{n}").username) for n in range(10)]
    with django_assert_num_queries(1):
        assert len(identify_all(several)) == 10


@pytest.mark.parametrize("bad", ["nobody", "", "\x00", "\ud800", 10**30, "x" * 5000])
async def test_a_bad_value_fails_alone(queue, alice, bob, bad):
    """Whatever a signed token names, its neighbours are served."""
    asked = [alice.username, bad, bob.username]
    found = await asyncio.gather(
        *(queue.identify(claims(each)) for each in asked), return_exceptions=True
    )
    assert [found[0].user, found[2].user] == [alice, bob]
    assert isinstance(found[1], AuthenticationFailed), found[1]


@pytest.mark.parametrize("bad", ["nobody", 10**30, -(10**30), "\x00", "1.5"])
async def test_a_bad_key_fails_alone(queue, settings, alice, bob, bad):
    """The same where the claim holds a primary key, as a number or as its text."""
    settings.BAZIS_WS_JWT_USER_FIELD = "pk"
    asked = [alice.pk, bad, str(bob.pk)]
    found = await asyncio.gather(
        *(queue.identify(claims(each)) for each in asked), return_exceptions=True
    )
    assert [found[0].user, found[2].user] == [alice, bob]
    assert isinstance(found[1], AuthenticationFailed), found[1]


async def test_who_is_gone_is_not_served(queue, alice, bob):
    """A sign-in that is cancelled while it waits costs no query."""
    queue.database.may_answer.clear()
    first = asyncio.create_task(queue.identify(claims(alice.username)))
    await queue.database.has_begun()
    gone = asyncio.create_task(queue.identify(claims("gone")))
    stays = asyncio.create_task(queue.identify(claims(bob.username)))
    await asyncio.sleep(0)
    gone.cancel()
    queue.database.may_answer.set()
    assert (await first).user == alice
    assert (await stays).user == bob
    assert queue.database.batches == [[alice.username], [bob.username]]


async def test_a_slow_database_gets_more_threads(queue, alice, bob):
    """Who comes while a query hangs is served by another thread."""
    queue.database.may_answer.clear()
    first = asyncio.create_task(queue.identify(claims(alice.username)))
    await queue.database.has_begun()
    queue.now[0] += 0.2
    second = asyncio.create_task(queue.identify(claims(bob.username)))
    await queue.database.has_begun()
    assert not first.done()
    queue.database.may_answer.set()
    assert [(await first).user, (await second).user] == [alice, bob]


async def test_what_takes_too_long_is_refused_at_once(queue, alice):
    """While the database hangs, new ones are told when to come back; renewals are kept."""
    queue.database.may_answer.clear()
    waiting = [asyncio.create_task(queue.identify(claims(alice.username)))]
    await queue.database.has_begun()
    queue.now[0] += 8
    with pytest.raises(ServerBusy) as refusal:
        await queue.identify(claims(alice.username))
    assert 8 <= refusal.value.retry_after <= 16
    queue.now[0] += 600  # a lock on the table, say: it may be over the next moment
    with pytest.raises(ServerBusy) as refusal:
        await queue.identify(claims(alice.username))
    assert 30 <= refusal.value.retry_after <= 60
    waiting.append(asyncio.create_task(queue.identify(claims(alice.username), is_known=True)))
    await asyncio.sleep(0)
    queue.database.may_answer.set()
    assert [(await each).user for each in waiting] == [alice, alice]
    assert (await queue.identify(claims(alice.username))).user == alice


@pytest.fixture
def opened():
    """The database connections that were opened meanwhile."""
    opened = []

    def note(connection, **kwargs):
        opened.append(connection)

    connection_created.connect(note)
    yield opened
    connection_created.disconnect(note)


async def test_a_thread_keeps_its_connection(alice, opened, monkeypatch):
    """Whatever CONN_MAX_AGE says, which is for requests; for a minute."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    thread = DatabaseThread()
    for _ in range(3):
        assert (await thread.run(identify_all, [claims("alice")]))[0].user == alice
    assert len(opened) == 1
    assert 50 < opened[0].close_at - time.monotonic() <= 60
    opened[0].close_at = time.monotonic()
    assert (await thread.run(identify_all, [claims("alice")]))[0].user == alice
    assert len(opened) == 2
    thread.close()


async def test_a_database_that_fails_fails_all(queue, alice):
    """The error is each caller's; the next ones are served."""

    def fail(several):
        raise RuntimeError("the database is out of reach")

    queue._serve = fail
    for error in await asyncio.gather(
        *(queue.identify(claims(alice.username)) for _ in range(3)), return_exceptions=True
    ):
        assert str(error) == "the database is out of reach"
    queue._serve = queue.database
    assert (await queue.identify(claims(alice.username))).user == alice


# --- several user spaces --------------------------------------------------------------------

space = ContextVar("space", default="")


@pytest.fixture
def spaces(settings):
    """A project whose handshakes say which user space they are for."""
    settings.BAZIS_WS_NAMESPACE = space.get


async def from_space(name, sign_in, *args):
    """Sign in by a handshake for a user space."""
    space.set(name)
    return await sign_in(*args)


async def test_those_of_one_user_space_share_a_query(queue, spaces, alice, bob):
    """And those of several share the turn; each is looked up where it belongs."""
    asked = [("a", alice), ("b", alice), ("a", bob), ("b", bob)]
    found = await asyncio.gather(
        *(from_space(name, queue.identify, claims(user.username)) for name, user in asked)
    )
    assert [each.key for each in found] == [f"{name}|{user.pk}" for name, user in asked]
    assert queue.database.batches == [[alice.username, bob.username]] * 2


async def test_a_user_space_that_fails_fails_alone(queue, spaces, alice):
    """One whose name is none, and one whose database is away."""

    def serve(several):
        if space.get() == "away":
            raise RuntimeError("its database is away")
        return identify_all(several)

    queue._serve = serve
    asked = ("a", "no name!", "away", "b")
    signing_in = (from_space(name, queue.identify, claims(alice.username)) for name in asked)
    found = await asyncio.gather(*signing_in, return_exceptions=True)
    assert [found[0].key, found[3].key] == [f"a|{alice.pk}", f"b|{alice.pk}"]
    assert isinstance(found[1], ImproperlyConfigured)
    assert str(found[2]) == "its database is away"


async def test_user_spaces_wait_in_the_queue_too(queue, spaces, alice, monkeypatch):
    """In order, and no longer than there is hope: a crowd is told when to come back."""
    monkeypatch.setattr("bazis_ws_channels.auth.arrivals.current_arrivals", lambda: queue)
    queue.database.may_answer.clear()
    first = asyncio.create_task(from_space("a", aauthenticate, sign("alice")))
    await queue.database.has_begun()
    queue.now[0] += 8
    with pytest.raises(ServerBusy):
        await from_space("a", aauthenticate, sign("alice"))
    queue.database.may_answer.set()
    assert (await first).key == f"a|{alice.pk}"


# --- keys that a callable returns -----------------------------------------------------------


@pytest.fixture
def source(settings):
    """A callable that notes which kids it was asked for."""
    asked = []

    def by_kid(kid):
        asked.append(kid)
        return callables.by_kid(kid)

    settings.BAZIS_WS_JWT_KEY = by_kid
    by_kid.asked = asked
    return by_kid


def token(kid):
    """Return a token of alice's with this kid."""
    return sign(key=callables.CURRENT, headers={"kid": kid})


async def test_a_callable_is_asked_once_for_each_kid(source, alice):
    """Those who come together, and those who come later, share the answer; "no" too."""
    found = await asyncio.gather(*(aauthenticate(token("current")) for _ in range(20)))
    assert {identity.user for identity in found} == {alice}
    assert (await aauthenticate(token("current"))).user == alice
    for _ in range(3):
        with pytest.raises(TokenError, match="invalid_token"):
            await aauthenticate(token("gone"))
        with pytest.raises(TokenError, match="invalid_token"):
            tokens.verify(token("gone"))
    assert source.asked == ["current", "gone"]


async def test_invented_kids_are_limited(source, alice):
    """Nobody makes the server ask for a thousand kids; what is known goes on."""
    assert (await aauthenticate(token("current"))).user == alice
    errors = await asyncio.gather(
        *(aauthenticate(token(f"invented{n}")) for n in range(100)), return_exceptions=True
    )
    kinds = [type(error) for error in errors]
    assert kinds.count(ServerBusy) >= 70
    assert len(source.asked) < 30
    assert (await aauthenticate(token("current"))).user == alice


def test_answers_are_forgotten(settings):
    """An answer is good for its time: keys are rotated."""
    now, asked = [0.0], []
    ring = keyring.Keyring(lambda: now[0])

    def key(kid):
        asked.append(kid)
        return None if kid == "gone" else f"key {len(asked)}"

    assert ring.ask(key, "a").key == "key 1"
    assert ring.known(key, "a").key == "key 1"
    assert ring.ask(key, "gone").key is None
    now[0] = 11
    assert ring.known(key, "a").key == "key 1"
    assert ring.known(key, "gone") is None
    now[0] = 61
    assert ring.known(key, "a") is None
    assert ring.ask(key, "a").key == "key 3"


# --- a real server --------------------------------------------------------------------------

SLOW = {"BAZIS_WS_JWT_KEY": "tests.sessions.callables.slow", "BAZIS_WS_AUTH_TIMEOUT": 1}


@pytest.fixture(scope="module")
def slow(servers):
    """A server that takes longer to look at a token than its authentication timeout."""
    return servers(**SLOW)


async def test_the_timeout_is_for_clients_without_a_token(slow, alice, bob):
    """A token that the server has not looked at never times out, in the handshake or later."""
    good = [sign(name, key=callables.CURRENT, headers={"kid": name}) for name in ("alice", "bob")]
    async with Client(slow.ws, good[0]) as client, Client(slow.ws) as other:
        await other.send({"token": good[1]})
        assert (await client.subscribed())["user"] == alice.pk
        assert (await other.subscribed())["user"] == bob.pk
        assert [message["type"] for message in client.seen + other.seen] == ["subscribed"] * 2


async def test_the_timeout_goes_on_after_a_bad_token(slow):
    """A bad token buys no more than the time in which it was looked at."""
    async with Client(slow.ws, sign("nobody", key="x" * 40, headers={"kid": "bad"})) as client:
        assert await client.closed() == 4401
        assert [message["code"] for message in client.seen] == ["invalid_token", "auth_timeout"]


async def test_frames_wait_behind_a_sign_in(slow, alice):
    """What a client sends behind its token is served in its order, once the session is live."""
    good = sign("alice", key=callables.CURRENT, headers={"kid": "in order"})
    async with Client(slow.ws) as client:
        await client.send({"token": good})
        await client.send({"type": "watch", "users": [alice.pk]})
        await client.send({"type": "ping"})
        kinds = [(await client.receive())["type"] for _ in range(3)]
        assert kinds == ["subscribed", "presence", "pong"]


async def test_too_many_handshakes_are_told_when_to_come_back(servers, alice):
    """Beyond the limit a handshake gets `server_busy`, `retry_after` and 4503."""
    server = servers(BAZIS_WS_HANDSHAKES_PER_SECOND=0.1)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        async with Client(server.ws, alice.ws_token()) as other:
            assert await other.closed() == 4503
            [error] = other.seen
            assert error["code"] == "server_busy"
            assert 1 <= error["retry_after"] <= 10
        assert await client.settle() == []


# --- sockets without a session --------------------------------------------------------------


def in_the_lobby(client):
    """Wait until the server has begun to wait for this client's token."""
    client.text('{"type": "ping"}')
    assert client.message()[1] == b'{"type": "pong"}'
    return client


async def test_the_oldest_without_a_session_give_way(servers, alice):
    """A crowd without tokens can't shut out those who bring theirs over the open socket."""
    server = servers(BAZIS_WS_MAX_UNAUTHENTICATED=5, BAZIS_WS_AUTH_TIMEOUT=60)
    crowd = [in_the_lobby(RawSocket(server.ws)) for _ in range(5)]
    async with Client(server.ws) as client:
        assert await asyncio.to_thread(crowd[0].close_code) == 4503
        await client.send({"token": alice.ws_token()})
        await client.subscribed()
        # A session is not one of them.
        crowd.append(in_the_lobby(RawSocket(server.ws)))
        crowd.append(RawSocket(server.ws))
        assert await asyncio.to_thread(crowd[1].close_code) == 4503
        assert await client.settle() == []
    for each in crowd:
        each.close()


async def test_one_address_without_sessions(servers):
    """The limit by address counts what the trusted proxy says, not what the client does."""
    server = servers(
        BAZIS_WS_MAX_UNAUTHENTICATED_BY_ADDRESS=2,
        BAZIS_WS_CLIENT_ADDRESS_HEADER="X-Forwarded-For",
        BAZIS_WS_AUTH_TIMEOUT=60,
    )

    def client(claimed, address):
        headers = {"X-Forwarded-For": f"{claimed}, {address}"}
        return Client(server.ws, additional_headers=headers)

    async with client("10.0.0.1", "203.0.113.5") as oldest:
        await oldest.settle()
        async with (
            client("10.0.0.2", "203.0.113.5"),
            client("10.0.0.3", "203.0.113.6") as other,
            client("10.0.0.4", "203.0.113.5"),
        ):
            assert await oldest.closed() == 4429
            assert await other.settle() == []
        assert oldest.seen[-1]["code"] == "too_many_connections"
