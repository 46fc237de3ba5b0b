"""Where a loop runs in the thread of sync code: notebooks, Playwright's sync API.

``DJANGO_ALLOW_ASYNC_UNSAFE`` makes the ORM work there, and what this package does.
"""

import asyncio
import os

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections

from bazis_ws_channels import presence, publishing
from tests.kit import channel_layers

MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
STOCK = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ.get("REDIS_URL", "")]},
    }
}


@pytest.fixture(params=["ours", "in memory", "stock"])
def layers(request, settings, monkeypatch):
    """Each channel layer, in a place that allows sync code on a loop."""
    settings.CHANNEL_LAYERS = {
        "ours": channel_layers(os.environ["REDIS_URL"]),
        "in memory": MEMORY,
        "stock": STOCK,
    }[request.param]
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


def do_everything(user):
    """Do what a notebook's cell, or a test that drives a browser, does."""
    assert user.ws_publish({"n": 1}) == 0
    assert user.ws_publish({"n": 2}, on_commit=True) == 0
    publishing.broadcast({"n": 3})
    publishing.notify([user], lambda each: {"n": 4})
    assert user.is_online is False
    assert presence.online([user]) == set()
    user_logged_out.send(type(user), request=None, user=user)
    user.set_password("new")
    user.save()
    user.is_active = False
    user.save()
    user.ws_disconnect()


@pytest.fixture
def caught(caplog):
    """Fail where an ending was logged instead of done."""
    yield
    assert "could not be ended" not in caplog.text
    assert "failed" not in caplog.text


def test_a_notebook(layers, caught, alice):
    """A cell is sync code that a running loop has called."""

    async def kernel():
        try:
            do_everything(alice)
        finally:
            connections.close_all()  # those of the loop

    asyncio.run(kernel())


async def test_what_is_published_arrives_on_the_same_loop(settings, monkeypatch, alice):
    """Over the in-memory layer, whose queues are this loop's."""
    settings.CHANNEL_LAYERS = MEMORY
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("common", channel)
    waiting = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    publishing.broadcast("hello")
    async with asyncio.timeout(5):
        assert "hello" in (await waiting)["text"]


async def test_elsewhere_it_stays_refused(settings, alice):
    """As the ORM refuses."""
    settings.CHANNEL_LAYERS = MEMORY
    with pytest.raises(SynchronousOnlyOperation, match="await ws_apublish"):
        alice.ws_publish(1)


def test_playwright(layers, caught, alice):
    """Its sync API runs a loop in the test's thread, in another greenlet."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright():
        assert asyncio.get_running_loop().is_running()
        do_everything(alice)
