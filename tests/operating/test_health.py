"""The health view: 200, or 503 within a second, whatever hangs."""

import asyncio
import json
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("prometheus_client")  # the test's URLs serve metrics, too

from tests.kit import Client, Gunicorn, Redis, until

URLS = {"ROOT_URLCONF": "tests.operating.urls"}


async def health(server):
    """Return the status, the answer, and how long it took."""

    def get():
        started = time.monotonic()
        try:
            with urllib.request.urlopen(f"{server.http}/health", timeout=20) as page:
                status, body = page.status, page.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        return status, json.loads(body), time.monotonic() - started

    return await asyncio.to_thread(get)


async def failing_within_a_second(server):
    """Return the answer of a 503; of three, for the machine may be busy with something else."""
    tries = []
    for _ in range(3):
        status, answer, took = await health(server)
        assert status == 503
        tries.append(took)
        if took < 1:
            return answer
    raise AssertionError(f"seconds: {tries}")


async def test_health(daphne, alice):
    """All is well; then Redis hangs, dies and is back."""
    with Redis() as redis:
        server = await asyncio.to_thread(lambda: daphne(**URLS, **redis.settings))
        status, answer, _ = await health(server)
        assert status == 200
        assert answer.pop("loop_lag_seconds") >= 0
        assert answer == {"status": "ok", "redis": True, "lease": None, "subscriptions": None}
        async with Client(server.ws, alice.ws_token()) as client:
            await client.subscribed()
            status, answer, _ = await health(server)
            assert status == 200
            assert (answer["lease"], answer["subscriptions"]) == (True, True)
            redis.pause()
            answer = await failing_within_a_second(server)
            assert (answer["redis"], answer["status"]) == (False, "failing")
            redis.resume()
            await until(lambda: _is_well(server))
            redis.kill()
            assert (await failing_within_a_second(server))["redis"] is False
            redis.start()
            await until(lambda: _is_well(server))


async def test_a_lost_lease_and_lost_subscriptions_fail(daphne, alice):
    """Each by itself."""
    with Redis() as redis, Redis() as other:
        settings = {**URLS, **redis.settings, "BAZIS_WS_REDIS_URL": other.url,
                    "BAZIS_WS_LEASE_SECONDS": 1, "BAZIS_WS_RENEW_SECONDS": 0.5}  # fmt: skip
        server = await asyncio.to_thread(lambda: daphne(**settings))
        async with Client(server.ws, alice.ws_token()) as client:
            await client.subscribed()
            other.pause()

            async def lease_is_lost():
                return (await health(server))[1]["lease"] is False

            await until(lease_is_lost)
            other.resume()
            await until(lambda: _is_well(server))
            redis.kill()
            status, answer, _ = await health(server)
            assert (status, answer["subscriptions"], answer["lease"]) == (503, False, True)


async def test_under_wsgi(daphne):
    """A process without sockets: Redis answers, the rest is not its business."""
    with Redis() as redis:
        server = await asyncio.to_thread(lambda: daphne(Gunicorn, **URLS, **redis.settings))
        status, answer, _ = await health(server)
        assert status == 200
        assert (answer["lease"], answer["subscriptions"]) == (None, None)
        redis.pause()
        assert (await failing_within_a_second(server))["redis"] is False
        redis.resume()
        await until(lambda: _is_well(server))


async def test_without_redis(settings, async_client):
    """In-memory: nothing can fail; nothing but GET and HEAD is served."""
    settings.ROOT_URLCONF = "tests.operating.urls"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    response = await async_client.get("/health")
    assert response.status_code == 200
    assert response.json()["redis"] is None
    assert response["Cache-Control"] == "no-store"
    assert (await async_client.post("/health")).status_code == 405


async def _is_well(server):
    return (await health(server))[0] == 200
