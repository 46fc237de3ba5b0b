"""Prometheus metrics of this process: ``pip install 'bazis-ws-channels[prometheus]'``.

Where prometheus_client is installed, the app adds the collector to its default registry, so that
whatever serves that registry serves these metrics: the view `metrics`, django-prometheus,
``prometheus_client.start_http_server``. Each process has counts of its own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from . import presence
from .counters import CLOSE_CODES, ERROR_CODES, LAG_BOUNDS_SECONDS, counts
from .exceptions import PresenceUnavailable
from .presence.stores import get_store
from .presence.stores.base import Lead

__all__ = ["WsCollector", "metrics", "register"]

#: How long one process tells the number of users online without being asked again: longer than a
#: usual scrape interval, or another process would begin to tell it.
_LEAD_MS = 75_000
_PROCESS = secrets.token_hex(8)
#: Label values that are always there, so that a rate over them never begins with a jump.
_KINDS = [
    (kind, outcome) for kind in ("user", "common", "anonymous") for outcome in ("ok", "failed")
]
_CLOSE_CODES = (*map(str, sorted(CLOSE_CODES)), "other")
_ERROR_CODES = (*sorted(ERROR_CODES), "other")
_RECOVERED = ("true", "false")


class WsCollector(Collector):
    """Reads the counters of this process when it is scraped."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: to register asks no Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return the metrics.

        The number of users online is told by one process of the fleet; by none while Redis is out
        of reach, nor on an event loop, which it would hold up.
        """
        yield from _gauges()
        yield from _counters()
        yield _lag()
        yield from _users_online()


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Show the default registry: a view for Prometheus. Let nobody else reach it."""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Add the collector to a registry, once."""
    if registry not in _registries:
        _registries.append(registry)
        registry.register(_collector)


_collector = WsCollector()
_registries: list[CollectorRegistry] = []


def _gauges() -> Iterator[Metric]:
    yield _gauge("connections", "Open WebSocket connections.", counts.connections)
    yield _gauge("sessions", "Connections with a signed-in user.", counts.sessions)
    yield _gauge("anonymous_sessions", "Connections without a user.", counts.anonymous)
    build = GaugeMetricFamily("bazis_ws_build_info", "The package's version.", labels=["version"])
    build.add_metric([_version()], 1)
    yield build


def _counters() -> Iterator[Metric]:
    yield _counter("connections", "Connections opened.", counts.opened)
    yield _counter("received", "Frames from clients.", counts.received)
    yield _counter("delivered", "Published messages written to sockets.", counts.delivered)
    yield _counter("missed", "Times a client was told of lost messages.", counts.missed)
    text = "Connections to Redis made again after one was lost."
    yield _counter("redis_reconnects", text, counts.redis_reconnects)
    text = "Connections ended, by close code."
    yield _labelled("closed", text, "code", _CLOSE_CODES, counts.closed)
    text = "Errors told to clients, and handshakes refused (origin), by code."
    yield _labelled("refused", text, "code", _ERROR_CODES, counts.refused)
    text = "Sessions resumed, by whether nothing was missed."
    yield _labelled("recovered", text, "recovered", _RECOVERED, counts.recovered)
    published = CounterMetricFamily(
        "bazis_ws_published", "Messages published.", labels=["kind", "outcome"]
    )
    for labels, number in {**dict.fromkeys(_KINDS, 0), **counts.published}.items():
        published.add_metric(labels, number)
    yield published


def _lag() -> Metric:
    bounds = [*map(str, LAG_BOUNDS_SECONDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(counts.lag.buckets), strict=True))
    text = "Seconds from publishing to the socket, by the clocks of the two machines."
    name = "bazis_ws_delivery_lag_seconds"
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=counts.lag.sum_seconds)


def _users_online() -> Iterator[Metric]:
    try:
        asyncio.get_running_loop()
        return
    except RuntimeError:
        pass
    try:
        if get_store().ask(Lead(_PROCESS, _LEAD_MS)):
            number = presence.online_count()
            yield _gauge("users_online", "Users with a connection, in the whole fleet.", number)
    except PresenceUnavailable:
        return


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bazis_ws_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"bazis_ws_{name}", text, value=value)


def _labelled(
    name: str, text: str, label: str, known: Iterable[str], values: Mapping[str, int]
) -> Metric:
    family = CounterMetricFamily(f"bazis_ws_{name}", text, labels=[label])
    for value, number in {**dict.fromkeys(known, 0), **values}.items():
        family.add_metric([value], number)
    return family


def _version() -> str:
    try:
        return version("bazis-ws-channels")
    except PackageNotFoundError:  # on the path, but not installed
        return "unknown"
