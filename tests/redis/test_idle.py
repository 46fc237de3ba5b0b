"""The first command on an idle connection that a balancer has forgotten."""

import time
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.signals import user_logged_out

from bazis_ws_channels import presence
from bazis_ws_channels.redis import pool
from tests.kit import Client, Proxy, channel_layers, move_clock, until


@pytest.fixture
def proxy(valkey, use):
    """The balancer, which this process uses."""
    with Proxy(valkey.url) as proxy:
        use(proxy.url)
        yield proxy


@pytest.fixture
def idle(monkeypatch):
    """Let a quarter of an hour pass for blocking connections: ``idle()``."""

    def idle():
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 900)
        monkeypatch.setattr(pool, "time", clock)

    return idle


def forget_with_rst(proxy):
    """The balancer says so."""
    proxy.reset()


def forget_in_silence(proxy):
    """The balancer drops what comes."""
    proxy.go_silent()


both = pytest.mark.parametrize("forget", [forget_with_rst, forget_in_silence])


@both
async def test_a_publish_from_sync_code(valkey, daphne, alice, proxy, idle, forget):
    """Arrives, and counts, as if nothing were."""
    server = await sync_to_async(daphne)(**valkey.settings)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        assert await sync_to_async(alice.ws_publish)("before") == 1
        idle()
        forget(proxy)
        assert await sync_to_async(alice.ws_publish)("after") == 1
        assert [await client.data() for _ in range(2)] == ["before", "after"]


@both
async def test_a_publish_from_async_code(valkey, daphne, alice, proxy, forget):
    """The same on an event loop."""
    server = await sync_to_async(daphne)(**valkey.settings)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        assert await alice.ws_apublish("before") == 1
        forget(proxy)
        move_clock(900)
        assert await alice.ws_apublish("after") == 1
        assert [await client.data() for _ in range(2)] == ["before", "after"]


@both
async def test_a_log_out(valkey, daphne, alice, proxy, idle, forget):
    """Ends the user's sessions, and voids the tokens."""
    server = await sync_to_async(daphne)(**valkey.settings)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        assert await sync_to_async(lambda: alice.is_online)()
        idle()
        forget(proxy)
        await sync_to_async(user_logged_out.send)(sender=type(alice), request=None, user=alice)
        assert await client.closed() == 4401
    await until(sync_to_async(lambda: presence.count([alice]) == 0))


@both
async def test_the_server_process(valkey, daphne, alice, bob, forget, use):
    """Its own connections are forgotten: who comes next signs in, and gets messages."""
    use(valkey.url)
    with Proxy(valkey.url) as proxy:
        server = await sync_to_async(daphne)(CHANNEL_LAYERS=channel_layers(proxy.url))
        async with Client(server.ws, alice.ws_token()) as client:
            await client.subscribed()
            forget(proxy)
            async with Client(server.ws, bob.ws_token()) as other:
                # Within the 5 s for which a link is trusted, silence may fail somebody: honestly.
                if (await other.receive())["type"] == "error":
                    assert forget is forget_in_silence
                    assert await other.closed() == 4500
            async with Client(server.ws, bob.ws_token()) as other:
                await other.subscribed()
                assert await sync_to_async(bob.ws_publish)("flows") == 1
                assert await other.data() == "flows"
        assert server.tracebacks == 0
