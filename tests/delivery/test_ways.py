"""All the ways of use: who publishes, and who shows who is online."""

import asyncio
import contextlib
import json

import pytest
from asgiref.sync import sync_to_async

from tests.delivery.conftest import DeliveryDaphne
from tests.kit import CeleryWorker, Client, fetch, manage


@pytest.fixture(scope="module")
def second(django_db_setup):
    """Another daphne process of the same project."""
    with DeliveryDaphne() as second:
        yield second


@pytest.fixture
async def tabs(server, second, alice):
    """Three tabs of alice in two processes."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for process in (server, server, second):
            client = await stack.enter_async_context(Client(process.ws, alice.ws_token()))
            await client.subscribed()
            clients.append(client)
        yield clients


async def every(clients):
    """Return the next value at each client."""
    return await asyncio.gather(*(client.data() for client in clients))


@pytest.mark.parametrize("path", ["publish", "drf-publish"])
async def test_from_a_view(server, tabs, alice, path):
    """A Django view and one of DRF, in a process that has tabs of the user itself."""
    page = await asyncio.to_thread(fetch, f"{server.http}/{path}/{alice.pk}/", {"n": 1})
    assert json.loads(page) == {"connections": 3}
    assert await every(tabs) == [{"n": 1}] * 3


async def test_from_a_celery_task(daphne, tabs, alice):
    """In a prefork worker."""
    await sync_to_async(daphne)(CeleryWorker)
    from tests.delivery.worker import publish

    result = await asyncio.to_thread(publish.delay, alice.pk, {"n": 1})
    assert await asyncio.to_thread(result.get, timeout=60) == 3
    assert await every(tabs) == [{"n": 1}] * 3


async def test_from_a_command(tabs):
    """`manage.py ws_publish`."""
    printed = await asyncio.to_thread(manage, "ws_publish", "alice", '{"n": 1}')
    assert printed == "Published to 3 connection(s) of alice.\n"
    assert await every(tabs) == [{"n": 1}] * 3


async def test_from_the_shell(tabs):
    """`manage.py shell`: publish, look who is online."""
    source = """
from django.contrib.auth import get_user_model
alice = get_user_model().objects.get(username="alice")
print(alice.ws_publish({"n": 1}), alice.is_online, alice.last_seen is not None)
"""
    printed = await asyncio.to_thread(manage, "shell", "--no-imports", "-c", source)
    assert printed == "3 True True\n"
    assert await every(tabs) == [{"n": 1}] * 3


async def test_a_broadcast_to_everybody(server, second, tabs, bob):
    """To all users in all processes."""
    async with Client(second.ws, bob.ws_token()) as client:
        await client.subscribed()
        await asyncio.to_thread(manage, "ws_broadcast", '{"n": 1}')
        assert await every([*tabs, client]) == [{"n": 1}] * 4


async def test_presence_in_a_template(second, tabs, bob):
    """`is_online` of users who are connected to another process."""
    page = await asyncio.to_thread(fetch, f"{second.http}/online/")
    assert page.split("\n")[:2] == ["<li>alice: online</li>", "<li>bob: offline</li>"]


async def test_presence_in_a_list(second, tabs, bob):
    """`is_online` in DRF, for somebody who is signed in by a Django session."""
    cookie = await sync_to_async(session_cookie)(bob)
    page = await asyncio.to_thread(fetch, f"{second.http}/users/", None, {"Cookie": cookie})
    users = json.loads(page)["results"]
    assert [(user["username"], user["is_online"]) for user in users] == [
        ("alice", True),
        ("bob", False),
    ]


def session_cookie(user):
    """Return the cookie of a new session of the user."""
    from django.test import Client as Browser

    browser = Browser()
    browser.force_login(user)
    return f"sessionid={browser.cookies['sessionid'].value}"


IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


async def test_one_process_without_redis(daphne, alice, bob):
    """The in-memory layer: views publish and see who is online, in development."""
    server = await sync_to_async(daphne)(CHANNEL_LAYERS=IN_MEMORY)
    async with contextlib.AsyncExitStack() as stack:
        tabs = [
            await stack.enter_async_context(Client(server.ws, user.ws_token()))
            for user in (alice, alice, bob)
        ]
        for tab in tabs:
            await tab.subscribed()
        for path in ("publish", "drf-publish"):
            page = await asyncio.to_thread(fetch, f"{server.http}/{path}/{alice.pk}/", {"n": 1})
            assert json.loads(page) == {"connections": 2}
            assert await every(tabs[:2]) == [{"n": 1}] * 2
        assert await tabs[2].settle() == []
        page = await asyncio.to_thread(fetch, f"{server.http}/online/")
        assert page.split("\n")[:2] == ["<li>alice: online</li>", "<li>bob: online</li>"]
