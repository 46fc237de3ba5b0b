"""A client comes back with its position: everything it missed, in order, once; or it is told."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import positions, publishing
from bazis_ws_channels.history.positions import UNKNOWN
from tests.replay.support import Socket, query_of


async def numbers(user, *values):
    """Publish to a user."""
    for value in values:
        await publishing.apublish([user], value)


def received(messages):
    """Return the values of messages with data."""
    return [message["data"] for message in messages if message["type"] == "data"]


@pytest.fixture
async def since(layer, alice):
    """A position of alice's, from a session that is over."""
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        await numbers(alice, 1)
        await socket.data()
    return socket.position


async def test_a_session_begins_with_a_position(layer, alice):
    """Without `since` nothing is replayed, whatever was published before."""
    await numbers(alice, "before")
    async with Socket(alice.ws_token()) as socket:
        first = await socket.subscribed()
        assert (first["recovered"], first["replayed"]) == (None, 0)
        assert set(first["position"]) == {"user", "common"}
        await numbers(alice, 1)
        await publishing.abroadcast(2)
        mine, everybodys = await socket.data(), await socket.data()
        assert (mine["data"], everybodys["data"]) == (1, 2)
        assert [list(mine["position"]), list(everybodys["position"])] == [["user"], ["common"]]
        assert "replayed" not in mine


async def test_what_was_missed_comes_first_in_order_and_once(layer, alice, bob, since):
    """Of both streams, marked; then what is live."""
    await numbers(alice, 2, 3)
    await numbers(bob, "not alice's")
    await publishing.abroadcast("all")
    async with Socket(alice.ws_token(), since) as socket:
        first = await socket.subscribed()
        assert (first["position"], first["recovered"], first["replayed"]) == (since, True, 3)
        replayed = [await socket.data() for _ in range(3)]
        assert received(replayed) == [2, 3, "all"]
        assert all(message["replayed"] is True for message in replayed)
        await numbers(alice, 4)
        live = await socket.data()
        assert (live["data"], "replayed" in live) == (4, False)
        assert await socket.settle() == []
    async with Socket(alice.ws_token(), socket.position) as again:
        assert (await again.subscribed())["replayed"] == 0
        assert await again.settle() == []


async def test_the_handshake_may_hold_the_position(layer, alice, since):
    """`?since=<user>~<common>`."""
    await numbers(alice, 2)
    async with Socket(alice.ws_token(), query=f"since={query_of(since)}") as socket:
        assert (await socket.subscribed())["recovered"] is True
        assert await socket.several(1) == [2]


async def test_a_link_that_breaks_in_the_middle_of_the_replay_loses_nothing(layer, alice, since):
    """The position moves with what is replayed."""
    await numbers(alice, 2, 3, 4)
    socket = await Socket(alice.ws_token(), since).open()
    await socket.subscribed()
    assert await socket.several(2) == [2, 3]
    handled = socket.position
    await socket.drop()
    async with Socket(alice.ws_token(), handled) as again:
        assert (await again.subscribed())["replayed"] == 1
        assert await again.several(1) == [4]


async def outlast_the_window(layer, redis):
    """Let all that is recorded be over: by a clock, or as Redis would drop it."""
    if not hasattr(layer, "hosts"):
        layer.streams._clock = lambda: float("inf")
        return
    assert await sync_to_async(redis.delete)(*redis.keys("user_ws.{*.messages"))


async def test_quiet_for_longer_than_the_window(layer, alice, since, settings, redis):
    """Silence costs nothing: the position outlives the messages."""
    await outlast_the_window(layer, redis)
    async with Socket(alice.ws_token(), since) as socket:
        first = await socket.subscribed()
        assert (first["recovered"], first["replayed"]) == (True, 0)


async def test_after_the_window_the_client_is_told(layer, alice, since, redis):
    """Not a part of it."""
    await numbers(alice, 2)
    await outlast_the_window(layer, redis)
    async with Socket(alice.ws_token(), since) as socket:
        first = await socket.subscribed()
        assert (first["recovered"], first["replayed"]) == (False, 0)
        assert first["position"] != since
        assert await socket.settle() == []


async def test_more_messages_than_are_kept(layer, alice, since, settings):
    """One more than that is told; as many are replayed."""
    settings.BAZIS_WS_HISTORY_MESSAGES = 3
    await numbers(alice, 2, 3, 4)
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["replayed"] == 3
    await numbers(alice, 5)
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["recovered"] is False


async def test_more_bytes_than_are_kept(layer, alice, since, settings):
    """A message too large for all of it can't be replayed; later ones can."""
    settings.BAZIS_WS_HISTORY_BYTES = 1000
    await numbers(alice, "x" * 2000, 3)
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["recovered"] is False
    await numbers(alice, 4)
    async with Socket(alice.ws_token(), socket.position) as socket:
        assert (await socket.subscribed())["recovered"] is True
        assert await socket.several(1) == [4]


async def test_a_message_that_is_not_recorded_is_only_live(layer, alice, since):
    """It has no position and is not replayed."""
    await publishing.apublish([alice], "typing", record=False)
    async with Socket(alice.ws_token(), since) as socket:
        assert (await socket.subscribed())["replayed"] == 0
        await publishing.apublish([alice], "typing", record=False)
        assert await socket.data() == {"type": "data", "data": "typing"}


MALFORMED = {
    "a string": "1.abcdefgh",
    "a list": [1, 2],
    "10 kB": {"user": "x" * 10_000, "common": "x" * 10_000},
    "a number": 5,
    "empty": {},
    "empty marks": {"user": "1.", "common": "1."},
    "numbers": {"user": 1, "common": 1},
    "an offset of 10^30": {"user": f"{10**30}.abcdefgh", "common": "0.abcdefgh"},
    "negative": {"user": "-1.abcdefgh", "common": "0.abcdefgh"},
    "another alphabet": {"user": "\u0661.abcdefgh", "common": "0.abcdefgh"},
    "never a stream": {"user": "7.abcdefgh", "common": "7.abcdefgh"},
}


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
async def test_a_position_that_is_none(layer, alice, since, wrong, caplog):
    """`recovered` is false: never an error, never a message."""
    await numbers(alice, 2)
    async with Socket(alice.ws_token(), wrong) as socket:
        first = await socket.subscribed()
        assert (first["recovered"], first["replayed"]) == (False, 0)
        assert await socket.settle() == []
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("key", ["user", "common"])
async def test_one_key_alone(layer, alice, since, key):
    """All or nothing over both streams."""
    async with Socket(alice.ws_token(), {key: since[key]}) as socket:
        assert (await socket.subscribed())["recovered"] is False


@pytest.mark.parametrize(
    "query", ["since=", "since=~", "since=a~b~c", "since={0}&since={0}", "since=%00~%ff", "since=&"]
)
async def test_a_handshake_with_a_wrong_position(layer, alice, since, query):
    """The same."""
    socket = Socket(alice.ws_token(), query=query.format(query_of(since)))
    async with socket:
        assert (await socket.subscribed())["recovered"] is False


async def test_another_users_position(layer, alice, bob, since):
    """It resumes nothing, though everybody's stream is the same."""
    await numbers(bob, "bob's")
    async with Socket(bob.ws_token(), since) as socket:
        assert (await socket.subscribed())["recovered"] is False
        assert await socket.settle() == []


async def test_a_position_ahead_of_the_stream(layer, alice, since):
    """As a client has it after Redis went back in time."""
    offset, _, mark = since["user"].partition(".")
    ahead = {**since, "user": f"{int(offset) + 5}.{mark}"}
    async with Socket(alice.ws_token(), ahead) as socket:
        assert (await socket.subscribed())["recovered"] is False


async def test_the_same_offset_of_another_history(layer, alice, since):
    """The mark tells them apart."""
    other = {**since, "user": since["user"][:-1] + ("A" if since["user"][-1] != "A" else "B")}
    await numbers(alice, 2)
    async with Socket(alice.ws_token(), other) as socket:
        assert (await socket.subscribed())["recovered"] is False


async def test_a_renewal_goes_on(layer, alice, since):
    """With a position or without: nothing is given twice."""
    async with Socket(alice.ws_token(), since) as socket:
        await socket.subscribed()
        await numbers(alice, 2)
        await socket.data()
        await socket.send({"token": alice.ws_token()})
        first = await socket.subscribed()
        assert (first["recovered"], first["replayed"]) == (None, 0)
        at = first["position"]
        await socket.send({"token": alice.ws_token(), "since": since})
        again = await socket.subscribed()
        assert (again["recovered"], again["replayed"], again["position"]) == (True, 0, at)
        await socket.send({"token": alice.ws_token(), "since": "nonsense"})
        assert (await socket.subscribed())["recovered"] is False
        await numbers(alice, 3)
        assert received(await socket.settle()) == [3]


async def test_another_user_on_the_same_socket(layer, alice, bob, since):
    """Gets nothing of the one before."""
    await numbers(alice, "alice's")
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        await socket.send({"token": bob.ws_token(), "since": since})
        first = await socket.subscribed()
        assert (first["user"], first["recovered"]) == (bob.pk, False)
        await numbers(alice, "alice's")
        await numbers(bob, "bob's")
        assert received(await socket.settle()) == ["bob's"]


async def test_the_first_load(layer, alice):
    """Position first, data second: what is published in between is replayed."""
    at = await alice.ws_aposition()
    await numbers(alice, "in between")
    async with Socket(alice.ws_token(), at) as socket:
        assert (await socket.subscribed())["recovered"] is True
        assert await socket.several(1) == ["in between"]
    assert await sync_to_async(lambda: alice.ws_position)() == socket.position
    assert await positions.aposition(alice.pk) == socket.position


async def test_replay_is_off(layer, alice, since, settings):
    """Everything as without it; `recovered` is null."""
    settings.BAZIS_WS_HISTORY_SECONDS = 0
    assert await alice.ws_aposition() is None
    async with Socket(alice.ws_token(), since) as socket:
        first = await socket.subscribed()
        assert (first["position"], first["recovered"], first["replayed"]) == (None, None, 0)
        await numbers(alice, 2)
        assert await socket.data() == {"type": "data", "data": 2}


async def test_another_channel_layer(alice, settings):
    """Everything as before; `recovered` is null."""
    backend = "channels.layers.InMemoryChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert await alice.ws_aposition() is None
    async with Socket(alice.ws_token(), {"user": "1.abcdefgh", "common": "1.abcdefgh"}) as socket:
        assert (await socket.subscribed())["recovered"] is None
        await numbers(alice, 2)
        assert await socket.data() == {"type": "data", "data": 2}


async def test_a_client_that_knows_nothing_of_positions(layer, alice):
    """One of `bazis-ws` 2.2: it reads the keys that it knows, and they are what they were."""
    async with Socket(alice.ws_token()) as socket:
        first = await socket.receive()
        assert (first["type"], first["user"]) == ("subscribed", alice.pk)
        await numbers(alice, {"n": 1})
        frame = await socket.receive()
        assert (frame["type"], frame["data"]) == ("data", {"n": 1})


@pytest.mark.parametrize("frame", ['"}', "\\", "{}", '{"position": {"user": "9.x"}}', "ü€😀", ""])
async def test_any_value_takes_a_position(layer, alice, frame):
    """The position is put into the frame's text, which stays JSON."""
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        for value in (frame, [frame], {frame: frame}, None, 1.5):
            await numbers(alice, value)
            message = await socket.data()
            assert message["data"] == json.loads(json.dumps(value))
            assert set(message["position"]) == {"user"}


async def test_messages_published_while_a_session_opens(layer, alice, since):
    """They are replayed or live, and never both."""
    for start in range(2, 42, 10):
        publishing_ = asyncio.create_task(numbers(alice, *range(start, start + 10)))
        async with Socket(alice.ws_token(), since) as socket:
            assert (await socket.subscribed())["recovered"] is True
            assert await socket.several(10) == list(range(start, start + 10))
            await publishing_
            assert await socket.settle() == []
            since = socket.position


async def test_redis_is_away_when_a_page_asks_for_the_position(alice, own_redis, settings):
    """The page loads all the same, and its client will be told to load its state again."""
    server = own_redis()
    settings.CHANNEL_LAYERS = server.channel_layers
    await asyncio.to_thread(server.stop)
    at = {"user": str(UNKNOWN), "common": str(UNKNOWN)}
    assert await sync_to_async(lambda: alice.ws_position)() == at
    assert await alice.ws_aposition() == at
    await asyncio.to_thread(server.start)
    async with Socket(alice.ws_token(), at) as socket:
        assert (await socket.subscribed())["recovered"] is False


async def test_who_was_never_here_costs_no_memory(transactional_db, django_user_model, redis):
    """`publish` to 2,000 absent users leaves no key."""
    await publishing.apublish(range(1, 2001), "nobody hears it")
    await sync_to_async(publishing.publish)(range(1, 2001), "nobody hears it")
    assert await sync_to_async(redis.keys)("user_ws.{*") == []
