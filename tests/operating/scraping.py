"""What a scrape says, as ``{("name", (("label", "value"), ...)): number}``."""

import asyncio

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bazis_ws_channels import metrics
from tests.kit import fetch

#: Contract, section 5, and the gauge of anonymous sessions.
NAMES = {
    "bazis_ws_connections",
    "bazis_ws_sessions",
    "bazis_ws_anonymous_sessions",
    "bazis_ws_connections_total",
    "bazis_ws_closed_total",
    "bazis_ws_refused_total",
    "bazis_ws_received_total",
    "bazis_ws_delivered_total",
    "bazis_ws_published_total",
    "bazis_ws_delivery_lag_seconds_bucket",
    "bazis_ws_delivery_lag_seconds_count",
    "bazis_ws_delivery_lag_seconds_sum",
    "bazis_ws_recovered_total",
    "bazis_ws_missed_total",
    "bazis_ws_redis_reconnects_total",
    "bazis_ws_users_online",
    "bazis_ws_build_info",
}


def parse(text):
    """Return the samples of this package."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("bazis_ws_")
    }


def own():
    """Return the metrics of this process."""
    registry = CollectorRegistry()
    registry.register(metrics.WsCollector())
    return parse(generate_latest(registry).decode())


async def scrape(server):
    """Return what a server's /metrics says."""
    return parse(await asyncio.to_thread(fetch, f"{server.http}/metrics"))


def value(samples, name, **labels):
    """Return a sample; 0 if it isn't there, as `rate()` would take it."""
    return samples.get((name, tuple(sorted(labels.items()))), 0)
