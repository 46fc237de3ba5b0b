"""The same idempotency key within five minutes publishes nothing more."""

import asyncio
import functools

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction

from bazis_ws_channels import publishing
from bazis_ws_channels.exceptions import PublishError
from tests.kit import Proxy
from tests.replay.support import Socket


@pytest.fixture(params=["async", "sync"])
def publish(request):
    """`publish` in both colours."""
    if request.param == "async":
        return publishing.apublish
    return sync_to_async(publishing.publish, thread_sensitive=False)


async def test_once_and_the_same_answer(layer, alice, publish):
    """A retried task: nothing more is published, and it returns what the first did."""
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        async with Socket(alice.ws_token()) as other:
            await other.subscribed()
            assert await publish([alice], 1, idempotency_key="order-42") == 2
        assert await publish([alice], 1, idempotency_key="order-42") == 2
        assert await publish([alice], 2, idempotency_key="order-43") == 1
        assert await socket.several(2) == [1, 2]
        assert await socket.settle() == []


async def test_of_messages_that_are_not_recorded_too(layer, alice, publish):
    """The key is no part of the history."""
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        for _ in range(2):
            await publish([alice], 1, record=False, idempotency_key="k")
        assert len(await socket.settle()) == 1


async def test_a_broadcast_and_a_notification(layer, alice):
    """All that publish take the key."""
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        for _ in range(2):
            await publishing.abroadcast(1, idempotency_key="b")
            await publishing.anotify([alice], lambda user: 2, idempotency_key="n")
        assert sorted(await socket.several(2)) == [1, 2]
        assert await socket.settle() == []


async def test_on_commit(layer, alice):
    """The key counts when the transaction commits."""

    def commit():
        with transaction.atomic():
            assert alice.ws_publish(1, idempotency_key="k", on_commit=True) == 0

    def roll_back():
        with transaction.atomic():
            alice.ws_publish("never", idempotency_key="k", on_commit=True)
            transaction.set_rollback(True)

    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        for step in (roll_back, commit, commit):
            await sync_to_async(step)()
        assert await socket.several(1) == [1]
        assert await socket.settle() == []


async def test_a_call_that_failed_half_way(alice, bob, own_redis, settings):
    """Who has the message does not get it again; who has it not, does."""
    server = own_redis()
    with Proxy(server.url) as proxy:
        settings.CHANNEL_LAYERS = server.channel_layers
        async with Socket(alice.ws_token()) as alices, Socket(bob.ws_token()) as bobs:
            await alices.subscribed()
            await bobs.subscribed()
            settings.CHANNEL_LAYERS = {
                "default": {**server.channel_layers["default"], "CONFIG": {"hosts": [proxy.url]}}
            }
            publish = functools.partial(asyncio.to_thread, publishing.publish)
            await publish([alice], 0, idempotency_key="so that Redis knows the script")
            assert await alices.several(1) == [0]
            # The answer is lost: whoever publishes can't know what was done.
            proxy.hold_answers_to(b"EVALSHA")
            with pytest.raises(PublishError):
                await publish([alice], 1, idempotency_key="k")
            proxy.release()
            assert await alices.several(1) == [1]
            get_channel_layer().breaker.worked()  # it would fail at once for a second
            await publish([alice, bob], 1, idempotency_key="k")
            assert await bobs.several(1) == [1]
            assert await alices.settle() == []


@pytest.mark.parametrize("key", [5, b"bytes", ["list"], 1.5, object()])
def test_a_key_that_is_no_string(alice, key):
    """A TypeError that names it."""
    with pytest.raises(TypeError, match="idempotency_key"):
        alice.ws_publish(1, idempotency_key=key)


@pytest.mark.parametrize("key", ["", "x" * 1_000_000])
def test_a_key_of_the_wrong_length(alice, key):
    """A ValueError that names it, and does not repeat a megabyte."""
    with pytest.raises(ValueError, match="idempotency_key") as caught:
        alice.ws_publish(1, idempotency_key=key)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("key", ["ü€😀", "\udc80", "a b\n", "{x}", "\0"])
async def test_any_text_is_a_key(layer, alice, key):
    """It is no part of a Redis key."""
    async with Socket(alice.ws_token()) as socket:
        await socket.subscribed()
        for _ in range(2):
            await publishing.apublish([alice], 1, idempotency_key=key)
        assert len(await socket.settle()) == 1
