"""The consumer, in the process: a scripted client, the in-memory layer."""

import asyncio
import contextlib
import json

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer

from bazis_ws_channels.consumers import UserWsConsumer
from bazis_ws_channels.parcels import Parcel
from bazis_ws_channels.presence.stores import forget_store, get_store
from bazis_ws_channels.presence.stores.base import Counts
from bazis_ws_channels.presence.tracker import current_tracker
from bazis_ws_channels.protocol import BadMessage
from tests.kit.waiting import until
from tests.unit.connection.people import identity
from tests.unit.peers import Socket


@pytest.fixture(autouse=True)
def new_store():
    """Presence in the process, empty."""
    forget_store()
    yield
    forget_store()


class Client(Socket):
    """A client: ``async with Client(Consumer, user=alice) as client``."""

    def __init__(self, consumer, *, who=None, subprotocols=()):
        super().__init__()
        self.scope = {"type": "websocket", "headers": [], "subprotocols": list(subprotocols)}
        self.inputs = asyncio.Queue()
        self.consumer, self.who, self.read = consumer, who, 0

    async def __aenter__(self):
        if self.who is not None:
            pending = asyncio.get_running_loop().create_future()
            if isinstance(self.who, Exception):
                pending.set_exception(self.who)
            else:
                pending.set_result(self.who)
            self.scope["ws_authentication"] = pending
        self.inputs.put_nowait({"type": "websocket.connect"})
        application = self.consumer.as_asgi()
        self.task = asyncio.ensure_future(application(self.scope, self.inputs.get, self.send))
        assert (await self.next())["type"] == "websocket.accept"
        return self

    async def __aexit__(self, *exc):
        self.inputs.put_nowait({"type": "websocket.disconnect", "code": 1001})
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(self.task, 5)

    async def next(self):
        """Return the next event from the server."""
        async with asyncio.timeout(5):
            while len(self.sent) <= self.read:
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0)
        self.read += 1
        return self.sent[self.read - 1]

    async def message(self):
        """Return the next message, or close code."""
        event = await self.next()
        return json.loads(event["text"]) if "text" in event else event.get("code", event)

    async def code(self):
        """Return the code of the next error, or close."""
        message = await self.message()
        return message["code"] if isinstance(message, dict) else message

    def say(self, content=None, *, text=None, data=None):
        """Send a frame."""
        event = {"type": "websocket.receive", "text": text, "bytes": data}
        if content is not None:
            event["text"] = json.dumps(content)
        self.inputs.put_nowait(event)


# --- hooks that are not called --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("receive", "receive_json, or write a method client_<type>"),
        ("decode_json", "receive_json"),
        ("websocket_connect", "connect or session_started"),
        ("websocket_receive", "receive_json"),
        ("websocket_disconnect", "disconnect"),
    ],
)
def test_hooks_that_would_never_be_called_are_refused(name, instead):
    """When the class is defined, with what to override instead."""
    with pytest.raises(TypeError, match=rf"Mine\.{name}\(\) would never be called: .*{instead}"):
        type("Mine", (UserWsConsumer,), {name: lambda self: None})


def test_a_grandchild_is_looked_at_too():
    """And what is served passes, with arguments of the class."""

    class Mine(UserWsConsumer):
        def __init_subclass__(cls, *, word, **kwargs):
            cls.word = word
            super().__init_subclass__(**kwargs)

        async def receive_json(self, content, **kwargs):
            """Served."""

    class Again(Mine, word="x"):
        async def connect(self):
            """Served."""

    assert Again.word == "x"
    with pytest.raises(TypeError, match="websocket_receive"):

        class Third(Again, word="y"):
            async def websocket_receive(self, message):
                """Not served."""


# --- the connection -------------------------------------------------------------------------


async def test_a_session_from_the_handshake(make_user):
    """What it is and what is left of it."""
    async with Client(UserWsConsumer, who=identity(make_user(1))) as client:
        assert (await client.message())["type"] == "subscribed"
        assert get_store().ask(Counts(["1"])) == [1]
        assert len(current_tracker().lines) == 1
        await get_channel_layer().group_send(
            "user_ws.1", {"type": "ws.push", "group": "user_ws.1", "text": '"hello"'}
        )
        assert await client.message() == "hello"
    assert get_store().ask(Counts(["1"])) == [0]
    assert not current_tracker().lines
    assert not any(get_channel_layer().groups.values())


@pytest.mark.parametrize(
    ("offered", "chosen"), [([], None), (["a"], None), (["bazis-ws", "ey.J.w"], "bazis-ws")]
)
async def test_the_subprotocol_never_holds_the_token(offered, chosen):
    """It would be in a log."""
    async with Client(UserWsConsumer, subprotocols=offered) as client:
        assert client.sent[0].get("subprotocol") == chosen


async def test_no_handshake():
    """The server changed its mind."""
    client = Client(UserWsConsumer)

    async def receive():
        return {"type": "websocket.disconnect"}

    await UserWsConsumer.as_asgi()(client.scope, receive, client.send)
    assert client.sent == []


async def test_the_disconnect_hook_gets_the_code():
    """However it ends; also where nothing was said of one."""
    codes = []

    class Mine(UserWsConsumer):
        async def disconnect(self, code):
            codes.append(code)

        async def client_break(self, content):
            raise RuntimeError("a bug")

        open_types = frozenset({"break"})

    async with Client(Mine):
        pass
    async with Client(Mine) as client:
        client.inputs.put_nowait({"type": "websocket.disconnect"})
    async with Client(Mine) as client:
        client.say({"type": "break"})
        assert await client.code() == "internal_error"
        assert await client.code() == 4500
        client.say({"type": "break"})  # it is closing: nothing is served
    assert codes == [1001, 1005, 1001]


async def test_a_server_that_stops_closes_with_its_code(make_user):
    """And presence is taken off."""
    async with Client(UserWsConsumer, who=identity(make_user(1))) as client:
        await client.message()
        client.task.cancel()
        assert await client.code() == 4503
        with pytest.raises(asyncio.CancelledError):
            await client.task
    assert get_store().ask(Counts(["1"])) == [0]


async def test_a_handshake_with_a_wrong_token():
    """The socket waits for a better one."""
    from bazis_ws_channels.exceptions import TokenError

    async with Client(UserWsConsumer, who=TokenError("expired_token", "x")) as client:
        assert await client.code() == "expired_token"
        client.say({"type": "ping"})
        assert await client.message() == {"type": "pong"}


# --- messages -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"text": "{"}, "bad_message"),
        ({"text": "[]"}, "bad_message"),
        ({"data": b"{}"}, "bad_message"),
        ({"content": {"type": "nothing"}}, "bad_message"),
        ({"content": {"type": "_set_up"}}, "bad_message"),
        ({"content": {"type": "PING"}}, "bad_message"),
        ({"content": {"type": "x" * 65}}, "bad_message"),
        ({"content": {"type": 5}}, "bad_message"),
        ({"content": {}}, "bad_message"),
        ({"content": {"token": 5}}, "bad_message"),
        ({"content": {"token": "nonsense"}}, "invalid_token"),
        ({"content": {"type": "watch", "users": [1]}}, "not_authenticated"),
        ({"text": "x" * 70_000}, "message_too_big"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
async def test_what_a_client_may_say_wrong(frame, code):
    """Each has its error; the connection goes on, but for the last."""
    async with Client(UserWsConsumer) as client:
        client.say(frame.get("content"), text=frame.get("text"), data=frame.get("data"))
        assert await client.code() == code
        client.say({"type": "ping"})
        assert await client.message() == (4413 if code == "message_too_big" else {"type": "pong"})


async def test_frames_over_the_allowance(settings):
    """One error, silence, then the close."""
    settings.BAZIS_WS_FRAMES_PER_SECOND, settings.BAZIS_WS_FRAMES_BURST = 0.001, 2
    async with Client(UserWsConsumer) as client:
        for _ in range(6):
            client.say({"type": "ping"})
        said = [await client.message() for _ in range(5)]
        assert [each if isinstance(each, int) else each.get("code") for each in said] == [
            None, None, "rate_limited", "rate_limited", 4429,
        ]  # fmt: skip


async def test_too_many_bad_messages(settings):
    """The last one closes."""
    settings.BAZIS_WS_MAX_BAD_MESSAGES = 2
    async with Client(UserWsConsumer) as client:
        client.say({})
        client.say({})
        assert [await client.code() for _ in range(3)] == ["bad_message", "bad_message", 4400]


@pytest.mark.parametrize("users", [None, 5, "12", [None], [[]], [True], ["x"], {}])
async def test_what_is_no_list_of_users(make_user, users):
    """To watch or to unwatch."""
    async with Client(UserWsConsumer, who=identity(make_user(1))) as client:
        await client.message()
        for kind in ("watch", "unwatch"):
            client.say({"type": kind, "users": users})
            message = await client.message()
            assert message["code"] == "bad_message"
            assert "users" in message["detail"]


async def test_watching(make_user):
    """Each user once, however named; forbidden is no bad message."""
    alice = make_user(1, watches="even")
    async with Client(UserWsConsumer, who=identity(alice)) as client:
        await client.message()
        client.say({"type": "watch", "users": [2, "2"]})
        assert (await client.message())["user"] == 2
        client.say({"type": "watch", "users": [3]})
        assert await client.code() == "forbidden"
        client.say({"type": "unwatch", "users": [2]})
        client.say({"type": "ping"})
        assert (await client.message())["type"] == "pong"


# --- what a project adds --------------------------------------------------------------------


class Chat(UserWsConsumer):
    """A project's consumer."""

    groups = ("room",)
    open_types = UserWsConsumer.open_types | {"hello.world"}

    async def client_hello_world(self, content):
        """Without a session."""
        if content.get("bad"):
            raise BadMessage("Not so.")
        await self.send_json({"user": str(self.scope.get("user")), "is": self.session is not None})

    async def client_all_ways(self, content):
        """With one."""
        await self.send("1")
        await self.send_json(2)
        self.push("3")
        await self.send(bytes_data=b"4")
        await self.send("5", close=True)

    async def client_no_frame(self, content):
        """A bug."""
        await self.send()

    async def client_bye(self, content):
        """Close with a code of its own."""
        await self.send("6", close=4999)

    async def session_started(self):
        """Greet."""
        self.push('"welcome"')

    async def chat_message(self, event):
        """From the channel layer."""
        await self.send_json(event["text"])


async def test_messages_and_events_of_a_project(make_user):
    """Dots become underscores; groups are joined for the whole connection."""
    async with Client(Chat) as client:
        client.say({"type": "hello.world"})
        assert await client.message() == {"user": "None", "is": False}
        client.say({"type": "hello.world", "bad": True})
        assert (await client.message())["detail"] == "Not so."
        client.say({"type": "all_ways"})
        assert await client.code() == "not_authenticated"
        await get_channel_layer().group_send("room", {"type": "chat.message", "text": "hi"})
        assert await client.message() == "hi"


async def test_all_ways_to_send_keep_one_order(make_user):
    """And `session_started` runs once."""
    async with Client(Chat, who=identity(make_user(1))) as client:
        assert (await client.message())["type"] == "subscribed"
        assert await client.message() == "welcome"
        client.say({"type": "all_ways"})
        events = [await client.next() for _ in range(6)]
        assert [event.get("text", event.get("bytes", event.get("code"))) for event in events] == [
            "1", "2", "3", b"4", "5", 1000,
        ]  # fmt: skip


async def test_a_frame_of_nothing_is_a_bug(make_user):
    """As in channels."""
    async with Client(Chat, who=identity(make_user(1))) as client:
        [await client.message() for _ in range(2)]
        client.say({"type": "no_frame"})
        assert [await client.code() for _ in range(2)] == ["internal_error", 4500]


async def test_a_close_code_of_its_own(make_user):
    """Goes to the client."""
    async with Client(Chat, who=identity(make_user(1))) as client:
        [await client.message() for _ in range(2)]
        client.say({"type": "bye"})
        assert await client.message() == 6
        assert await client.code() == 4999


async def test_an_event_without_a_method_ends_its_connection(caplog):
    """Nobody else's."""
    async with Client(Chat) as client:
        await until(lambda: get_channel_layer().groups.get("room"))
        await get_channel_layer().group_send("room", {"type": "unknown.event"})
        assert [await client.code() for _ in range(2)] == ["internal_error", 4500]
    assert "Chat has no handler for 'unknown.event'" in caplog.text


async def test_the_server_ends_a_session(make_user):
    """By an event on the user's group."""
    async with Client(UserWsConsumer, who=identity(make_user(1))) as client:
        await client.message()
        event = {"type": "ws.end", "group": "user_ws.1", "code": "logged_out", "detail": "x"}
        await get_channel_layer().group_send("user_ws.1", event)
        assert [await client.code() for _ in range(2)] == ["logged_out", 4401]


class Leaving(UserWsConsumer):
    """Has nothing to do at the beginning of a session."""

    ended = ()

    async def session_ended(self):
        """Note whose it was."""
        type(self).ended += (self.session.pk,)


async def test_the_end_is_told_where_nothing_is_done_at_the_beginning(make_user):
    """Once for each session that has started."""
    async with Client(Leaving):
        pass
    async with Client(Leaving, who=identity(make_user(1))) as client:
        assert (await client.message())["type"] == "subscribed"
        assert Leaving.ended == ()
    assert Leaving.ended == (1,)


class DirectLayer(InMemoryChannelLayer):
    """Hands events over before they are received, as the layer of this package does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.takers, self.reconnect_listeners = {}, set()

    def receive_directly(self, channel, taker):
        """Offer each message to the taker."""
        self.takers[channel] = taker

    async def send(self, channel, message):
        """Send to one consumer."""
        if not self.takers[channel](Parcel(message)):
            await super().send(channel, message)


class Talkative(UserWsConsumer):
    """Sends itself events, at the beginning of a session and at its end."""

    async def session_started(self):
        """Say hello."""
        if self.scope["path"] == "/early":
            await self.channel_layer.send(self.channel_name, {"type": "chat.note"})

    async def session_ended(self):
        """Say goodbye, to nobody."""
        await self.channel_layer.send(self.channel_name, {"type": "chat.note"})

    async def chat_note(self, event):
        """Tell the client."""
        self.push('{"type": "note"}')


@pytest.mark.parametrize("path", ["/early", "/late"])
async def test_an_event_while_the_connection_ends_is_waited_for_by_nobody(
    make_user, settings, path
):
    """Whether there were some before or not: no task is left."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.DirectLayer"}}
    client = Client(Talkative, who=identity(make_user()))
    client.scope["path"] = path
    async with client:
        assert (await client.message())["type"] == "subscribed"
        if path == "/early":
            assert await client.message() == {"type": "note"}
        else:
            await asyncio.sleep(0)
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
    assert "Guard.__call__" not in names
