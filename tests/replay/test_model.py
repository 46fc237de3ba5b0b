"""Random histories against a model: a client has the published sequence without a hole, or it was
told.
"""

import asyncio
import itertools
import os

import pytest
import redis as redis_py
from channels.layers import channel_layers
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bazis_ws_channels import publishing
from tests.replay.support import IN_MEMORY, Socket

KEPT = 4
#: How many times as many histories: ``MORE_HISTORIES=20 pytest tests/replay/test_model.py``.
MORE = int(os.environ.get("MORE_HISTORIES", "1"))
STREAMS = ("user", "common")
MALFORMED = [5, "x", [], {}, {"user": "1.x", "common": None}, {"user": "0.abcdefgh"}]


class Stream:
    """What was published to one stream, and how much of it can be replayed."""

    def __init__(self):
        self.published = []
        self.kept = 0
        #: Counts the times that Redis lost everything: positions of before are void.
        self.history = 0
        #: Whether somebody holds a position, so that messages are recorded.
        self.is_recorded = False

    def publish(self, value):
        self.published.append(value)
        if self.is_recorded:
            self.kept = min(KEPT, self.kept + 1)

    def forget(self):
        self.kept, self.is_recorded = 0, False
        self.history += 1


class Place:
    """A position that the server gave, and what the client has by then of each stream."""

    def __init__(self, position, user, counts, histories):
        self.position, self.user = position, user
        self.counts, self.histories = counts, histories


class Machine(RuleBasedStateMachine):
    """One client, two users, one server."""

    users = ()
    layer_settings = IN_MEMORY
    redis = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.numbers = itertools.count()
        if self.redis is not None:
            self.redis.flushall()
        channel_layers.backends.clear()
        self.layer = channel_layers["default"]
        self.clock = 0.0
        if self.redis is None:
            self.layer.streams._clock = lambda: self.clock
        self.streams = {user.pk: Stream() for user in self.users} | {None: Stream()}
        self.socket = None
        self.user = self.users[0]
        #: Of each stream: how many messages the client has, or None once it was told.
        self.has = {}
        self.places = []

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def teardown(self):
        if self.socket is not None:
            self.run(self.socket.drop())
        self.run(self.layer.flush())
        self.runner.close()

    def stream(self, name):
        return self.streams[self.user.pk if name == "user" else None]

    # --- what happens -----------------------------------------------------------------------

    @rule(who=st.sampled_from([0, 1, None]), count=st.integers(1, 3))
    def publish(self, who, count):
        for _ in range(count):
            value = next(self.numbers)
            if who is None:
                self.run(publishing.abroadcast(value))
                self.streams[None].publish(value)
            else:
                self.run(publishing.apublish([self.users[who]], value))
                self.streams[self.users[who].pk].publish(value)

    @rule()
    def expire(self):
        """The window passes."""
        if self.redis is None:
            self.clock += 301
        else:
            for key in self.redis.keys("user_ws.{*.messages"):
                self.redis.delete(key)
        for stream in self.streams.values():
            stream.kept = 0

    @precondition(lambda self: self.socket is None)
    @rule()
    def lose_memory(self):
        """Redis comes back without data."""
        if self.redis is None:
            self.layer.streams.clear()
        else:
            for key in self.redis.keys("user_ws.{*"):
                self.redis.delete(key)
        for stream in self.streams.values():
            stream.forget()

    @precondition(lambda self: self.socket is not None and self.redis is not None)
    @rule()
    def restart_without_data(self):
        """Redis loses everything under a live session, which is told so once."""
        self.settle()
        for key in self.redis.keys("user_ws.{*"):
            self.redis.delete(key)
        self.redis.client_kill_filter(_type="pubsub")
        for stream in self.streams.values():
            stream.forget()
        missed = self.run(self.socket.receive_type("missed"))
        assert set(missed["position"]) == set(STREAMS)
        for name in STREAMS:
            self.stream(name).is_recorded = True
            self.has[name] = len(self.stream(name).published)

    @precondition(lambda self: self.socket is not None)
    @rule()
    def drop(self):
        self.settle()
        self.places.append(self.place())
        self.run(self.socket.drop())
        self.socket = None

    @precondition(lambda self: self.socket is not None)
    @rule()
    def renew(self):
        self.run(self.socket.send({"token": self.user.ws_token()}))
        self.settle()

    @precondition(lambda self: self.socket is not None)
    @rule()
    def cut_subscriptions(self):
        """Redis's connections for pub/sub are cut; what is published meanwhile is missed there."""
        if self.redis is not None:
            self.settle()
            self.redis.client_kill_filter(_type="pubsub")

    @precondition(lambda self: self.socket is None)
    @rule(data=st.data(), who=st.sampled_from([0, 1]))
    def connect(self, data, who):
        self.user = self.users[who]
        kinds = ["none", "malformed", "future"] + ["place"] * (5 * bool(self.places))
        since, place = self.choose(data, data.draw(st.sampled_from(kinds)))
        self.socket = Socket(self.user.ws_token(), since)
        self.run(self.socket.open())
        self.begin(place, since)

    @precondition(lambda self: self.socket is not None)
    @rule(data=st.data())
    def switch_user(self, data):
        self.settle()
        self.user = self.users[1 - self.users.index(self.user)]
        kind = data.draw(st.sampled_from(["none", "place"] if self.places else ["none"]))
        since, place = self.choose(data, kind)
        message = {"token": self.user.ws_token()}
        self.run(self.socket.send(message if since is None else {**message, "since": since}))
        self.begin(place, since)

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def nothing_is_missing(self):
        if self.socket is not None:
            self.settle()

    def choose(self, data, kind):
        """Return a `since`, and the place that it is, if it is one."""
        if kind == "none":
            return None, None
        if kind == "malformed":
            return data.draw(st.sampled_from(MALFORMED)), None
        if kind == "future" or not self.places:
            return {"user": "999.abcdefgh", "common": "999.abcdefgh"}, None
        place = data.draw(st.sampled_from(self.places))
        return place.position, place

    def begin(self, place, since):
        """Check how a session begins."""
        first = self.run(self.socket.subscribed())
        for name in STREAMS:
            self.stream(name).is_recorded = True
        may_recover = place is not None and place.user == self.user.pk
        expected = None if since is None else (may_recover and self.is_kept(place))
        assert first["recovered"] is expected
        if expected:
            self.has = dict(place.counts)
        else:  # the client loads its state
            self.has = {name: len(self.stream(name).published) for name in STREAMS}
        gap = sum(len(self.stream(name).published) - self.has[name] for name in STREAMS)
        assert first["replayed"] == (gap if expected else 0)
        self.settle()

    def is_kept(self, place):
        return all(
            place.histories[name] == self.stream(name).history
            and len(self.stream(name).published) - place.counts[name] <= self.stream(name).kept
            for name in STREAMS
        )

    def settle(self):
        """Wait until the client has all it can get, and look whether that is all there is."""

        async def wait():
            for message in await self.socket.settle():
                self.take(message)
            while self.redis is not None and not self.is_complete():
                self.take(await self.socket.receive())

        self.run(wait())
        assert self.is_complete()

    def is_complete(self):
        return all(self.has[name] == len(self.stream(name).published) for name in STREAMS)

    def take(self, message):
        """Handle a message; the next one of its stream, and no other, may come."""
        assert message["type"] in ("data", "subscribed", "pong"), message
        if message["type"] != "data":
            return
        (name,) = message["position"]
        published = self.stream(name).published
        assert message["data"] == published[self.has[name]]
        self.has[name] += 1

    def place(self):
        histories = {name: self.stream(name).history for name in STREAMS}
        return Place(self.socket.position, self.user.pk, dict(self.has), histories)


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_random_histories(kind, alice, bob, settings, own_redis):
    """Publishes, drops, resumes from anywhere, trims, expiries, other users, renewals."""

    class Case(Machine):
        users = (alice, bob)

    settings.BAZIS_WS_HISTORY_MESSAGES = KEPT
    settings.BAZIS_WS_FRAMES_PER_SECOND = settings.BAZIS_WS_FRAMES_BURST = 100_000
    if kind == "redis":
        server = own_redis()
        Case.redis = redis_py.Redis.from_url(server.url, decode_responses=True)
        settings.CHANNEL_LAYERS = server.channel_layers
    else:
        settings.CHANNEL_LAYERS = IN_MEMORY
    run_state_machine_as_test(Case, settings=PROFILE[kind])


PROFILE = {
    kind: settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    for kind, examples in (("memory", 60 * MORE), ("redis", 25 * MORE))
}
