"""The health view: what it looks at, and that it answers within a second."""

import json
import time

import pytest
from channels.layers import channel_layers
from django.test import RequestFactory

from bazis_ws_channels import health as module
from bazis_ws_channels.health import health
from bazis_ws_channels.presence.stores import forget_store
from bazis_ws_channels.presence.tracker import current_tracker
from tests.kit import channel_layers as layers_at
from tests.unit.peers import CUT, SILENCE


async def ask(method="get"):
    """Return the status and what the view says."""
    response = await health(getattr(RequestFactory(), method)("/health/"))
    return response.status_code, json.loads(response.content or b"null")


@pytest.fixture
def at(settings, fake_redis):
    """Let the channel layer be at the scripted Redis."""
    settings.CHANNEL_LAYERS = layers_at(fake_redis.url)
    channel_layers.backends.clear()
    forget_store()
    yield fake_redis
    forget_store()


async def test_without_redis():
    """Nothing to look at is well."""
    status, body = await ask()
    lag = body.pop("loop_lag_seconds")
    assert (status, 0 <= lag < 20) == (200, True)
    assert body == {"status": "ok", "redis": None, "lease": None, "subscriptions": None}


async def test_redis_answers(at):
    """By a PING."""
    status, body = await ask()
    assert (status, body["status"], body["redis"]) == (200, "ok", True)
    assert "PING" in at.names()


@pytest.mark.parametrize("reply", [CUT, SILENCE, Exception("LOADING")])
async def test_redis_does_not(at, reply):
    """Dead, hanging or loading: the answer is there all the same."""
    at.answer("PING", *[reply] * 10)
    started = time.monotonic()
    status, body = await ask()
    assert (status, body["status"], body["redis"]) == (503, "failing", False)
    assert time.monotonic() - started < module._LIMIT_SECONDS + 5  # on a busy machine


async def test_presence_may_be_at_another_redis(settings, fake_redis):
    """Both count."""
    settings.BAZIS_WS_REDIS_URL = fake_redis.url
    assert (await ask())[1]["redis"] is True
    fake_redis.answer("PING", *[CUT] * 10)
    assert (await ask())[1]["redis"] is False


@pytest.mark.parametrize(("name", "age", "is_well"), [("p", 9.9, True), ("p", 10, False)])
async def test_the_lease(settings, monkeypatch, name, age, is_well):
    """Renewed in time, or not."""
    settings.BAZIS_WS_LEASE_SECONDS = 10
    lease = current_tracker().lease
    monkeypatch.setattr(lease, "name", name)
    monkeypatch.setattr(type(lease), "age_seconds", property(lambda lease: age))
    status, body = await ask()
    assert (status, body["lease"]) == (200 if is_well else 503, is_well)


@pytest.mark.parametrize(("state", "status"), [(None, 200), (True, 200), (False, 503)])
async def test_subscriptions(monkeypatch, state, status):
    """Confirmed, or not in time; null where there are none."""

    class Layer:
        is_subscribed = state

    monkeypatch.setattr(module, "get_channel_layer", Layer)
    code, body = await ask()
    assert (code, body["subscriptions"]) == (status, state)


async def test_a_subscription_that_is_confirmed_meanwhile(monkeypatch):
    """What is new takes a round trip."""
    states = iter([False, False, False, True])

    class Layer:
        is_subscribed = property(lambda layer: next(states))

    layer = Layer()
    monkeypatch.setattr(module, "get_channel_layer", lambda: layer)
    assert (await ask())[0] == 200


async def test_methods():
    """It is read."""
    assert (await health(RequestFactory().post("/health/"))).status_code == 405
    assert (await ask("head"))[0] == 200


async def test_nobody_keeps_the_answer():
    """It is true now."""
    response = await health(RequestFactory().get("/health/"))
    assert response["Cache-Control"] == "no-store"
