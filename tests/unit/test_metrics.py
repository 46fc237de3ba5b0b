"""The metrics of one process: each counter under its name, and who tells the number online."""

import sys

import pytest

pytest.importorskip("prometheus_client")

from django.test import RequestFactory
from prometheus_client import CollectorRegistry, generate_latest

from bazis_ws_channels import metrics
from bazis_ws_channels.counters import CLOSE_CODES, ERROR_CODES, Counts
from bazis_ws_channels.presence.stores import use_store
from bazis_ws_channels.presence.stores.base import Connect, Lead, Register, Token
from bazis_ws_channels.presence.stores.memory import MemoryStore
from tests.operating.scraping import NAMES, own, value


@pytest.fixture(autouse=True)
def counts(monkeypatch):
    """The counters of a process that has just started."""
    counts = Counts()
    monkeypatch.setattr(metrics, "counts", counts)
    return counts


@pytest.fixture(autouse=True)
def store():
    """Presence in the process, empty."""
    store = MemoryStore()
    with use_store(store):
        yield store


class Follower(MemoryStore):
    """A store by which another process of the fleet tells the number online."""

    def ask(self, question):
        """Answer; somebody else leads."""
        return False if isinstance(question, Lead) else super().ask(question)


def test_the_names_are_those_of_the_contract():
    """All of them, and no others."""
    assert {name for name, _ in own()} == NAMES


def test_labels_are_there_before_anything_happens():
    """Else their first events come with them: a rate that begins with a jump is 0, and an alert
    hears nothing of the first hundred sockets that were closed with 4500."""
    samples = own()
    for name, label, values in (
        ("closed", "code", [*CLOSE_CODES, "other"]),
        ("refused", "code", [*ERROR_CODES, "other"]),
        ("recovered", "recovered", ["true", "false"]),
    ):
        for each in values:
            assert samples[f"bazis_ws_{name}_total", ((label, str(each)),)] == 0
    for kind in ("user", "common", "anonymous"):
        for outcome in ("ok", "failed"):
            labels = (("kind", kind), ("outcome", outcome))
            assert samples["bazis_ws_published_total", labels] == 0


@pytest.mark.parametrize(
    ("counter", "name"),
    [
        ("connections", "connections"),
        ("sessions", "sessions"),
        ("anonymous", "anonymous_sessions"),
        ("opened", "connections_total"),
        ("received", "received_total"),
        ("delivered", "delivered_total"),
        ("missed", "missed_total"),
        ("redis_reconnects", "redis_reconnects_total"),
    ],
)
def test_a_number_has_its_name(counts, counter, name):
    """And no other shows it."""
    setattr(counts, counter, 7)
    assert [key for key, number in own().items() if number == 7] == [(f"bazis_ws_{name}", ())]


def test_numbers_by_label(counts):
    """Those that were counted, beside those that were not."""
    counts.note_closed(4401)
    counts.note_refused("forbidden")
    counts.recovered["true"] += 1
    counts.published["user", "ok"] += 3
    samples = own()
    assert value(samples, "bazis_ws_closed_total", code="4401") == 1
    assert value(samples, "bazis_ws_closed_total", code="1000") == 0
    assert value(samples, "bazis_ws_refused_total", code="forbidden") == 1
    assert value(samples, "bazis_ws_recovered_total", recovered="true") == 1
    assert value(samples, "bazis_ws_published_total", kind="user", outcome="ok") == 3
    assert value(samples, "bazis_ws_published_total", kind="common", outcome="ok") == 0


def test_the_lag_is_a_histogram(counts):
    """Whose buckets hold all that are below their bound."""
    counts.lag.buckets[0], counts.lag.buckets[2], counts.lag.buckets[-1] = 5, 2, 1
    counts.lag.sum_seconds = 12.5
    samples, name = own(), "bazis_ws_delivery_lag_seconds"
    bounds = {"0.005": 5, "0.01": 5, "0.025": 7, "10.0": 7, "+Inf": 8}
    assert {each: value(samples, f"{name}_bucket", le=each) for each in bounds} == bounds
    assert value(samples, f"{name}_count") == 8
    assert value(samples, f"{name}_sum") == 12.5


# --- users online ---------------------------------------------------------------------------


def test_users_online(store):
    """Each once, however many connections there are."""
    store.ask(Register("a-process", 10_000))
    for number, user in enumerate(("1", "1", "2")):
        store.ask(Connect("a-process", f"session-{number}", user, 9, Token()))
    assert own()["bazis_ws_users_online", ()] == 2


def test_one_process_tells_the_number_online():
    """So that a sum over the fleet is right."""
    with use_store(Follower()):
        samples = own()
    assert ("bazis_ws_users_online", ()) not in samples
    assert ("bazis_ws_connections", ()) in samples


def test_without_redis_everything_else_is_there(settings):
    """A scrape never fails for it."""
    from bazis_ws_channels.presence.stores.redis import RedisStore
    from bazis_ws_channels.redis.hosts import Host

    with use_store(RedisStore(Host({"address": "redis://127.0.0.1:1"}))):
        assert {name for name, _ in own()} == NAMES - {"bazis_ws_users_online"}


async def test_on_an_event_loop_nothing_is_held_up():
    """There, whoever serves the registry gets all but the number of users online."""
    assert {name for name, _ in own()} == NAMES - {"bazis_ws_users_online"}


# --- the package, the view, the registry ----------------------------------------------------


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_version(monkeypatch, is_installed):
    """Unknown where the package is on the path, but not installed."""
    if not is_installed:
        monkeypatch.setattr(sys, "path", [])
    [labels] = [labels for name, labels in own() if name == "bazis_ws_build_info"]
    assert (labels == (("version", "unknown"),)) is not is_installed


def test_the_view():
    """Shows the default registry, which has our metrics; is kept in no cache."""
    response = metrics.metrics(RequestFactory().get("/metrics"))
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")
    assert "no-store" in response["Cache-Control"]
    assert b"\nbazis_ws_connections 0.0\n" in response.content
    assert metrics.metrics(RequestFactory().post("/metrics")).status_code == 405


def test_a_registry_gets_the_collector_once():
    """To register asks no Redis, and twice is no error."""
    registry = CollectorRegistry()
    with use_store(None):  # whoever asked it would fail
        metrics.register(registry)
        metrics.register(registry)
    assert generate_latest(registry).count(b"\nbazis_ws_connections 0.0\n") == 1
