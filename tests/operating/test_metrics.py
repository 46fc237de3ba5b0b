"""The metrics of one process are what happened in it, exactly."""

import asyncio

import pytest

pytest.importorskip("prometheus_client")

from bazis_ws_channels import metrics
from bazis_ws_channels.counters import counts
from bazis_ws_channels.exceptions import PublishError
from bazis_ws_channels.publishing import abroadcast, apublish, apublish_anonymous
from tests.kit import Client, Uvicorn, until
from tests.operating.scraping import own, scrape, value

URLS = {"ROOT_URLCONF": "tests.operating.urls"}


@pytest.mark.parametrize("server_class", [None, Uvicorn])
async def test_what_happened_is_counted(daphne, alice, bob, server_class):
    """Connections, sessions, frames, deliveries, refusals and endings of a server."""
    options = () if server_class is None else (server_class,)
    server = await asyncio.to_thread(lambda: daphne(*options, **URLS))
    before = await scrape(server)
    assert value(before, "bazis_ws_connections_total") == 0
    async with (
        Client(server.ws, alice.ws_token()) as first,
        Client(server.ws, alice.ws_token()) as second,
        Client(server.ws, bob.ws_token()) as third,
        Client(server.ws, "wrong") as fourth,
        Client(server.ws) as fifth,
    ):
        for client in (first, second, third):
            await client.subscribed()
        assert (await fourth.receive())["code"] == "invalid_token"
        await first.send("no json")
        await first.receive_type("error")
        await fifth.send({"type": "watch", "users": []})
        await fifth.receive_type("error")
        assert await alice.ws_apublish("to alice") == 2
        await abroadcast("to all")
        for client in (first, second, third):
            while await client.data() != "to all":
                pass
            await client.settle()
        during = await scrape(server)
        await bob.ws_adisconnect()
        assert await third.closed() == 4401

    async def are_gone():
        samples = await scrape(server)
        there = [value(samples, f"bazis_ws_{name}") for name in ("connections", "sessions")]
        return samples if there == [0, 0] else None

    after = await until(are_gone)
    assert value(during, "bazis_ws_connections") == 5
    assert value(during, "bazis_ws_sessions") == 3
    assert value(during, "bazis_ws_users_online") == 2
    assert value(during, "bazis_ws_delivered_total") == 2 + 3
    assert value(during, "bazis_ws_delivery_lag_seconds_count") == 5
    assert value(during, "bazis_ws_delivery_lag_seconds_bucket", le="+Inf") == 5
    assert 0 < value(during, "bazis_ws_delivery_lag_seconds_sum") < 5
    assert value(during, "bazis_ws_received_total") == 2 + 3
    assert value(after, "bazis_ws_connections_total") == 5
    for code in ("invalid_token", "bad_message", "not_authenticated", "logged_out"):
        assert value(after, "bazis_ws_refused_total", code=code) == 1, code
    assert value(after, "bazis_ws_closed_total", code="4401") == 1
    assert value(after, "bazis_ws_closed_total", code="1000") == 4
    assert value(after, "bazis_ws_redis_reconnects_total") == 0


async def test_publishing_is_counted(alice, bob, settings):
    """By kind and outcome: messages, not calls."""

    def published():
        samples = own()
        return {
            (kind, outcome): value(samples, "bazis_ws_published_total", kind=kind, outcome=outcome)
            for kind in ("user", "common", "anonymous")
            for outcome in ("ok", "failed")
        }

    before = await asyncio.to_thread(published)
    await apublish([alice, bob], 1)
    await abroadcast(1)
    await apublish_anonymous("0123456789abcdef", 1)
    await asyncio.to_thread(alice.ws_publish, 1)
    settings.CHANNEL_LAYERS = {
        "default": {**settings.CHANNEL_LAYERS["default"], "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}
    }  # fmt: skip
    with pytest.raises(PublishError):
        await apublish([alice, bob], 1)
    after = await asyncio.to_thread(published)
    changed = {key: after[key] - before[key] for key in after}
    assert changed == {
        ("user", "ok"): 3, ("common", "ok"): 1, ("user", "failed"): 2, ("common", "failed"): 0,
        ("anonymous", "ok"): 1, ("anonymous", "failed"): 0,
    }  # fmt: skip


def test_one_process_tells_the_number_online(clean_redis, monkeypatch):
    """So that a sum over the fleet is right; another takes over when it is gone."""
    assert ("bazis_ws_users_online", ()) in own()
    monkeypatch.setattr(metrics, "_PROCESS", "another")
    assert ("bazis_ws_users_online", ()) not in own()
    clean_redis.delete("user_ws.leader")
    assert ("bazis_ws_users_online", ()) in own()


async def test_a_refused_origin_is_counted(transactional_db):
    """As a refusal without a code of the protocol."""
    from bazis_ws_channels.testing import WsClient

    before = counts.refused["origin"]
    async with WsClient(headers=[("Origin", "https://evil.example")]) as client:
        assert client.closed_with == 403
    assert counts.refused["origin"] == before + 1
