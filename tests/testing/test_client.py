"""The in-process client of the test kit."""

import time

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from bazis_ws_channels.publishing import abroadcast, apublish_anonymous, publish_anonymous
from bazis_ws_channels.testing import WsClient, capture
from tests.testing.test_outbox import without_redis  # noqa: F401

pytestmark = pytest.mark.usefixtures("without_redis")


async def test_messages_arrive(alice, bob):
    """Signed in by itself, with the project's own application, without a server or Redis."""
    async with WsClient(user=alice) as client, WsClient(user=bob) as other:
        assert client.subscribed["user"] == alice.pk
        assert await alice.ws_apublish({"number": 1}) == 1
        assert await client.receive_data() == {"number": 1}
        await abroadcast("to all")
        assert (await client.receive())["data"] == "to all"
        assert await other.receive_data() == "to all"
        await other.receive_nothing()
        await client.send({"type": "watch", "users": [bob.pk]})
        assert (await client.receive("presence"))["is_online"]


async def test_sync_code_in_a_thread(alice):
    """What a sync view publishes arrives, too."""
    async with WsClient(user=alice) as client:
        assert await sync_to_async(alice.ws_publish)("from a view") == 1
        assert await client.receive_data() == "from a view"


async def test_both_at_once(ws_outbox, alice):
    """What clients get is captured as well, also by a capture within."""
    async with WsClient(user=alice) as client:
        with capture() as inner:
            await alice.ws_apublish("hi")
        assert await client.receive_data() == "hi"
    ws_outbox.assert_published(alice, "hi")
    inner.assert_published(alice, "hi")


async def test_tokens(alice):
    """A token goes the tokens' way; the server's answer to a wrong one can be looked at."""
    async with WsClient(token=alice.ws_token()) as client:
        assert client.subscribed["expires_in"] > 800
    async with WsClient(token="wrong") as client:
        assert client.subscribed is None
        assert (await client.receive("error"))["code"] == "invalid_token"
        await client.send({"token": alice.ws_token()})
        await client.receive("subscribed")


async def test_anonymous_sessions(ws_outbox, settings, alice):
    """A random token opens one, where the project allows it; what is published is told apart."""
    token, other = "visitor-0123456789", "visitor-9876543210"
    async with WsClient(token=token) as client:
        assert (await client.receive("error"))["code"] == "invalid_token"
    settings.BAZIS_WS_ANONYMOUS = True
    async with WsClient(token=token) as client:
        assert client.subscribed["user"] is None
        await apublish_anonymous(token, {"step": 1})
        await apublish_anonymous(other, {"step": 2})
        await sync_to_async(publish_anonymous)(token, "from a view")
        await abroadcast("not for visitors")
        assert await client.receive_data() == {"step": 1}
        assert await client.receive_data() == "from a view"
        await client.receive_nothing()
        await client.send({"type": "watch", "users": [alice.pk]})
        assert (await client.receive("error"))["code"] == "forbidden"
    assert [each.user for each in ws_outbox] == [None] * 4
    assert [bool(each.anonymous) for each in ws_outbox] == [True, True, True, False]
    assert not any(each.recorded for each in ws_outbox[:3])


async def test_a_user_who_is_refused(alice):
    """Fails at once, and says why."""
    alice.is_active = False
    await alice.asave()
    with pytest.raises(AssertionError, match="user_not_found"):
        async with WsClient(user=alice):
            pass


async def test_nobody(settings, transactional_db):
    """Without user and token nobody is signed in; the server closes in the end."""
    settings.BAZIS_WS_AUTH_TIMEOUT = 0.05
    async with WsClient() as client:
        await client.send({"type": "watch", "users": []})
        assert (await client.receive())["code"] == "not_authenticated"
        assert client.closed_with is None
        assert await client.wait_closed() == 4401
        assert client.closed_with == 4401


async def test_ends_of_sessions(alice):
    """The server's ending is seen."""
    async with WsClient(user=alice) as client:
        await alice.ws_adisconnect()
        assert await client.wait_closed() == 4401
        assert (await client.receive("error"))["code"] == "logged_out"
        with pytest.raises(AssertionError, match=r"Nothing came.* closed with 4401"):
            await client.receive()


async def test_what_fails_says_what_came(alice):
    """Within a second."""
    async with WsClient(user=alice) as client:
        await alice.ws_apublish({"number": 1})
        started = time.monotonic()
        with pytest.raises(AssertionError, match=r"'presence'[\s\S]*\"number\": 1"):
            await client.receive("presence")
        assert time.monotonic() - started < 1.5
        with pytest.raises(AssertionError, match="Nothing came"):
            await client.receive_data()
        await alice.ws_apublish({"number": 2})
        with pytest.raises(AssertionError, match='"number": 2'):
            await client.receive_nothing()
        with pytest.raises(AssertionError, match="Expected the server to close"):
            await client.wait_closed()


async def test_a_consumer_of_the_project(alice):
    """At its own path, with events of the channel layer."""
    async with WsClient(user=alice, path="/project/") as client:
        await client.send({"type": "hello"})
        assert await client.receive("hello") == {"type": "hello", "user": alice.pk}
        event = {"type": "order.shipped", "number": 42}
        await get_channel_layer().group_send(alice.user_channel, event)
        assert await client.receive() == {"type": "order", "number": 42}


async def test_a_route_that_is_not_there(alice):
    """The application's own error is raised."""
    with pytest.raises(ValueError, match="No route found"):
        async with WsClient(user=alice, path="/elsewhere"):
            pass


async def test_another_site(settings, alice):
    """A refused Origin is a refused handshake; what the project allows is what the client sends."""
    headers = [("Origin", "https://evil.example")]
    async with WsClient(headers=headers) as client:
        assert client.closed_with == 403
    with pytest.raises(AssertionError, match="handshake was refused"):
        async with WsClient(user=alice, headers=headers):
            pass
    settings.BAZIS_WS_ALLOWED_ORIGINS = ["https://*.example.com"]
    async with WsClient(user=alice):
        pass
