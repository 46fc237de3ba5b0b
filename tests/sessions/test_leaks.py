"""Nobody receives another user's message, whatever 50 users do: a model and a real server."""

import asyncio
import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bazis_ws_channels import presence, publishing
from tests.kit import Client, until

USERS, SOCKETS, STEPS, PROGRAMS = 50, 60, 250, 8
GRACE_SECONDS = 0.2

#: Each step: what to do, on which socket, with which user.
STEP = st.tuples(
    st.sampled_from(
        [
            *("connect",) * 5,
            *("switch",) * 4,
            *("renew",) * 3,
            *("watch",) * 3,
            *("publish",) * 4,
            *("vanish", "vanish", "publish to a visitor"),
            *("disconnect",) * 3,
            *("bad token", "unwatch", "broadcast"),
        ]
    ),
    st.integers(0, SOCKETS - 1),
    st.integers(0, USERS - 1),
)


#: What can be done where there is no socket yet.
NO_TAB_NEEDED = {"publish", "publish to a visitor", "broadcast"}


def token_of(user):
    """Return the token with which a user goes on without a name: it looks like the key."""
    return str(user.pk).zfill(16)


class Tab:
    """One socket and what it should be; checks each message as it arrives."""

    def __init__(self, server):
        self.client = Client(server.ws)
        self.expected = None  # whose session the last token opens: a user's key, a visitor's token
        self.brought = []  # the same, of each token
        self.user = None  # whose session the server says it is
        self.watched = {}  # user -> the status told last
        self.subscriptions = 0
        self.answers = 0
        self.tokens = 0
        self.pongs = 0
        self.marks = []
        self.reader = None

    async def open(self):
        await self.client.__aenter__()
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        async for text in self.client.socket:
            self.check(json.loads(text))

    def check(self, message):
        """A message must be for the user whose session it is."""
        kind = message["type"]
        if kind == "subscribed":
            brought = self.brought[self.answers]
            assert message["user"] == (None if isinstance(brought, str) else brought)
            if brought != self.user:
                self.watched = {}
            self.user = brought
            self.answers += 1
        elif kind == "error":
            allowed = ("invalid_token", "not_authenticated", "forbidden")
            assert message["code"] in allowed, message
            assert message["code"] != "forbidden" or isinstance(self.user, str), message
            if message["code"] == "invalid_token":
                self.user, self.watched = None, {}
                self.answers += 1
        elif kind == "data":
            to = message["data"]["to"]
            assert self.user is not None, message
            allowed = (self.user,) if isinstance(self.user, str) else (self.user, "everybody")
            assert to in allowed, (self.user, message)
            if "mark" in message["data"]:
                self.marks.append(message["data"]["mark"])
        elif kind == "presence":
            assert isinstance(self.user, int), message
            self.watched[message["user"]] = message["is_online"]
        else:
            assert kind == "pong", message
            self.pongs += 1

    async def send(self, message):
        await self.client.send(message)

    async def bring(self, token, pk):
        """Bring a token; None for whose is a bad one."""
        self.expected = pk
        self.brought.append(pk)
        self.tokens += 1
        await self.send({"token": token})

    async def settled(self):
        """Wait until all that was sent is answered."""
        await self.send({"type": "ping"})
        wanted = self.pongs + 1
        await until(lambda: self.reader.done() or self.pongs >= wanted)
        assert not self.reader.done() or self.reader.result() is None
        assert self.answers == self.tokens
        assert self.user == self.expected

    async def close(self):
        await self.client.__aexit__()
        await self.reader  # raises what `check` did


class Run:
    """Interprets one program."""

    def __init__(self, server, users):
        self.server = server
        self.users = users
        self.tabs = {}

    async def step(self, verb, slot, number):
        user = self.users[number]
        tab = self.tabs.get(slot)
        if tab is None and verb != "connect":
            verb = verb if verb in NO_TAB_NEEDED else "connect"
        await getattr(self, verb.replace(" ", "_"))(slot, tab, user)

    async def connect(self, slot, tab, user):
        if tab is not None:
            return await self.switch(slot, tab, user)
        tab = self.tabs[slot] = Tab(self.server)
        await tab.open()
        await tab.bring(user.ws_token(), user.pk)

    async def switch(self, slot, tab, user):
        """Switch while messages to the former user and to the next one are on their way."""
        former = self.by_pk(tab.expected) or user
        await asyncio.gather(
            *(each.ws_apublish({"to": each.pk}) for each in (former, user)),
            tab.bring(user.ws_token(), user.pk),
            *(each.ws_apublish({"to": each.pk}) for each in (former, user)),
        )

    async def renew(self, slot, tab, user):
        if isinstance(tab.expected, str):
            return await tab.bring(tab.expected, tab.expected)
        same = self.by_pk(tab.expected) or user
        await tab.bring(same.ws_token(), same.pk)

    async def vanish(self, slot, tab, user):
        """Go on without a user, while messages to the former one are on their way."""
        former, token = self.by_pk(tab.expected) or user, token_of(user)
        await asyncio.gather(
            former.ws_apublish({"to": former.pk}),
            tab.bring(token, token),
            publishing.apublish_anonymous(token, {"to": token}),
            former.ws_apublish({"to": former.pk}),
        )

    async def publish_to_a_visitor(self, slot, tab, user):
        token = token_of(user)
        await publishing.apublish_anonymous(token, {"to": token})

    async def bad_token(self, slot, tab, user):
        await tab.bring("a.b.c", None)

    async def watch(self, slot, tab, user):
        await tab.send({"type": "watch", "users": [user.pk, self.users[0].pk]})

    async def unwatch(self, slot, tab, user):
        await tab.send({"type": "unwatch", "users": [user.pk]})
        await tab.settled()
        tab.watched.pop(user.pk, None)

    async def publish(self, slot, tab, user):
        await user.ws_apublish({"to": user.pk})

    async def broadcast(self, slot, tab, user):
        await publishing.abroadcast({"to": "everybody"})

    async def disconnect(self, slot, tab, user):
        del self.tabs[slot]
        await tab.close()

    def by_pk(self, pk):
        return next((user for user in self.users if user.pk == pk), None)

    @property
    def online(self):
        """Users with a session, by the model."""
        return {tab.expected for tab in self.tabs.values() if isinstance(tab.expected, int)}

    async def finish(self):
        """Compare the server with the model."""
        await asyncio.gather(*(tab.settled() for tab in self.tabs.values()))
        await until(self.presence_is_right)
        await until(self.watchers_know)
        expected = [tab for tab in self.tabs.values() if isinstance(tab.expected, int)]
        for token in map(token_of, self.users):
            await publishing.apublish_anonymous(token, {"to": token, "mark": token})
        counts = [await user.ws_apublish({"to": user.pk, "mark": user.pk}) for user in self.users]
        assert sum(counts) == len(expected)
        await asyncio.gather(*(tab.settled() for tab in self.tabs.values()))
        for tab in self.tabs.values():
            assert tab.marks == [tab.expected] * (tab.expected is not None)

    async def presence_is_right(self):
        """Users online, with their number of tabs; a closed tab counts for a moment more."""
        live = [tab for tab in self.tabs.values() if isinstance(tab.expected, int)]
        return await presence.aonline(self.users) == self.online and await presence.acount(
            self.users
        ) == len(live)

    def watchers_know(self):
        return all(
            is_online == (pk in self.online)
            for tab in self.tabs.values()
            for pk, is_online in tab.watched.items()
        )


async def run(server, users, program):
    """Run a program; all sockets are closed in the end."""
    state = Run(server, users)
    try:
        for step in program:
            await state.step(*step)
        await state.finish()
    finally:
        for tab in state.tabs.values():
            with contextlib.suppress(Exception):
                await tab.client.__aexit__()
    async with asyncio.timeout(20):
        await asyncio.gather(*(tab.reader for tab in state.tabs.values()))
    await until(lambda: nobody(users))


async def nobody(users):
    """Tell whether nobody is online."""
    return not await presence.aonline(users)


@pytest.fixture(scope="module")
def busy_server(servers):
    """A server without limits of frames."""
    return servers(
        BAZIS_WS_FRAMES_PER_SECOND=10_000,
        BAZIS_WS_FRAMES_BURST=10_000,
        BAZIS_WS_OFFLINE_GRACE_SECONDS=GRACE_SECONDS,
        BAZIS_WS_AUTH_TIMEOUT=60,
        BAZIS_WS_ANONYMOUS=True,
    )


def test_nobody_gets_anothers_message(busy_server, make_user):
    """2,000 random steps of 50 users: every message is its receiver's, and presence is right."""
    users = [make_user(f"user{number}") for number in range(USERS)]
    ran = []

    @given(st.lists(STEP, min_size=STEPS, max_size=STEPS))
    @settings(
        max_examples=PROGRAMS,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def programs(program):
        asyncio.run(run(busy_server, users, program))
        ran.append(len(program))

    programs()
    assert sum(ran) >= 2000
