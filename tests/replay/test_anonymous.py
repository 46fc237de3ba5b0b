"""Replay and sessions without a user: what is everybody's is recorded, what is theirs is not."""

import pytest

from bazis_ws_channels import publishing
from tests.replay.support import Socket

TOKEN, OTHER = "visitor-0123456789", "visitor-9876543210"


@pytest.fixture(autouse=True)
def on(layer, settings):
    """Anonymous sessions are allowed, and get what is broadcast."""
    settings.BAZIS_WS_ANONYMOUS = settings.BAZIS_WS_ANONYMOUS_COMMON = True


@pytest.fixture
async def since(on):
    """The position of a visitor who has seen one broadcast."""
    async with Socket(TOKEN) as socket:
        first = await socket.subscribed()
        assert (set(first["position"]), first["recovered"], first["replayed"]) == (
            {"common"},
            None,
            0,
        )
        await publishing.abroadcast(1)
        await socket.data()
        return socket.position


@pytest.mark.parametrize("token", [TOKEN, OTHER])
async def test_missed_broadcasts_are_replayed(since, token):
    """To any visitor: the stream is everybody's. What was published to the token is not."""
    await publishing.abroadcast(2)
    await publishing.apublish_anonymous(token, "not recorded")
    async with Socket(token, since) as socket:
        first = await socket.subscribed()
        assert (first["position"], first["recovered"], first["replayed"]) == (since, True, 1)
        assert (await socket.data())["replayed"] is True
        await publishing.apublish_anonymous(token, "live")
        live = await socket.data()
        assert (live["data"], "position" in live) == ("live", False)
        assert await socket.settle() == []


async def test_in_order_with_what_is_its_own(since):
    """Those without a position don't disturb those with one."""
    async with Socket(TOKEN, since) as socket:
        await socket.subscribed()
        for number in range(3):
            await publishing.apublish_anonymous(TOKEN, f"own {number}")
            await publishing.abroadcast(number)
        assert await socket.several(6) == ["own 0", 0, "own 1", 1, "own 2", 2]


async def test_without_broadcasts_nothing_is_recorded(since, settings):
    """There is no position, and nothing can be recovered."""
    settings.BAZIS_WS_ANONYMOUS_COMMON = False
    async with Socket(TOKEN, since) as socket:
        first = await socket.subscribed()
        assert (first["position"], first["recovered"], first["replayed"]) == (None, None, 0)
        await socket.send({"token": TOKEN, "since": since})
        assert (await socket.subscribed())["recovered"] is None


async def test_from_a_user_to_nobody_and_back(alice, bob, since):
    """A position of another kind of session is not recovered: what it names is not all here."""
    async with Socket(alice.ws_token()) as socket:
        of_alice = (await socket.subscribed())["position"]
        await socket.send({"token": TOKEN, "since": of_alice})
        first = await socket.subscribed()
        assert (set(first["position"]), first["recovered"]) == ({"common"}, False)
        await socket.send({"token": alice.ws_token(), "since": since})
        first = await socket.subscribed()
        assert (set(first["position"]), first["recovered"]) == ({"user", "common"}, False)
        await socket.send({"token": alice.ws_token(), "since": of_alice})
        assert (await socket.subscribed())["recovered"] is True


async def test_renewing(since):
    """The same token again goes on; a position of another history, or a user's, is none of its."""
    async with Socket(TOKEN) as socket:
        position = (await socket.subscribed())["position"]
        later = {"common": "999999.aaaaaaaa"}
        of_a_user = {**position, "user": "1.aaaaaaaa"}
        for given, recovered in [
            (None, None),
            (position, True),
            (since, True),
            (later, False),
            (of_a_user, False),
            ({}, False),
        ]:
            await socket.send({"token": TOKEN, **({} if given is None else {"since": given})})
            again = await socket.subscribed()
            assert (again["recovered"], again["position"]) == (recovered, position)


async def test_idempotency_keys(on):
    """A retried task publishes once to each token."""
    async with Socket(TOKEN) as socket, Socket(OTHER) as other:
        await socket.subscribed()
        await other.subscribed()
        for _ in range(2):
            await publishing.apublish_anonymous(TOKEN, "done", idempotency_key="export 7")
        await publishing.apublish_anonymous(OTHER, "done", idempotency_key="export 8")
        assert await socket.several(1) == await other.several(1) == ["done"]
        assert await socket.settle() == await other.settle() == []


async def test_nothing_is_kept_for_a_token(on, layer, redis):
    """Neither a stream nor messages: anybody can make as many tokens as they like."""
    async with Socket(TOKEN) as socket:
        await socket.subscribed()
        await publishing.apublish_anonymous(TOKEN, 1)
        assert await socket.several(1) == [1]
    names = redis.keys("*") if hasattr(layer, "hosts") else list(layer.streams._streams)
    assert not [name for name in names if "anonymous" in name]
    assert [name for name in names if "common" in name]
