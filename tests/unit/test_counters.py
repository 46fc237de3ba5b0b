"""What happens in this process, counted."""

import re

import pytest

from bazis_ws_channels import counters, protocol
from bazis_ws_channels.counters import CLOSE_CODES, ERROR_CODES, LAG_BOUNDS_SECONDS, Counts, Lag
from tests.kit import ROOT


def test_codes_of_the_protocol_are_told_apart():
    """Each that the package closes with, and each that it tells."""
    closing = {value for name, value in vars(protocol).items() if name.startswith("CLOSE_")}
    assert closing <= CLOSE_CODES
    client = (ROOT / "bazis_ws_channels/static/bazis_ws_channels/client.js").read_text()
    block = re.search(r"ERROR_CODES = Object.freeze\(\{(.*?)\}\)", client, re.S)[1]
    own_codes = {"token_unavailable", "token_unusable", "socket_unavailable"}
    assert set(re.findall(r'"(\w+)"', block)) - own_codes <= ERROR_CODES


def test_labels_are_few():
    """What a client or a project makes up does not become a label."""
    counts = Counts()
    for code in range(3000, 4000):
        counts.note_closed(code)
        counts.note_refused(f"code-{code}")
    assert counts.closed == counts.refused == {"other": 1000}
    counts.note_closed(4401)
    counts.note_refused("origin")
    assert (counts.closed["4401"], counts.refused["origin"]) == (1, 1)


def test_published_messages_are_counted_by_kind_and_outcome(monkeypatch):
    """Messages, not calls; none makes no label."""
    counts = Counts()
    monkeypatch.setattr(counters, "counts", counts)
    counters.published("user", "ok", 2)
    counters.published("user", "ok", 1)
    counters.published("common", "failed", 0)
    assert counts.published == {("user", "ok"): 3}


@pytest.fixture
def now(monkeypatch, clock):
    """The time of day, which stands until it is moved."""
    monkeypatch.setattr(counters.time, "time", clock)
    return clock


def spread(lag):
    """Return how many there are by the upper bound of their bucket."""
    bounds = (*LAG_BOUNDS_SECONDS, None)
    return {bound: n for bound, n in zip(bounds, lag.buckets, strict=True) if n}


def test_the_lag_of_a_delivery(now):
    """In the bucket of its upper bound; a clock that is behind counts as no lag."""
    lag, start = Lag(), now()
    for seconds in (0.004, 0.005, 0.3, 20.0, -1.0):
        lag.observe((start - seconds,))
    assert spread(lag) == {0.005: 3, 0.5: 1, None: 1}
    assert lag.sum_seconds == pytest.approx(20.309)


def test_the_clock_is_looked_at_once_for_some_recipients_of_one_message(now):
    """Who get it together; then it is looked at again."""
    lag, published_at = Lag(), (now(), now() - 0.02)
    lag.observe(published_at)
    now.move(1)
    for _ in range(counters._SAME):
        lag.observe(published_at)
    assert spread(lag) == {0.005: 51, 0.025: 51}
    lag.observe(published_at)
    assert spread(lag) == {0.005: 51, 0.025: 51, 1.0: 1, 2.5: 1}


def test_deliveries_of_unknown_age_have_no_lag():
    """They are counted."""
    counts = Counts()
    counts.note_delivered(3, ())
    counts.note_delivered(1, (0.0,))
    assert counts.delivered == 4
    assert sum(counts.lag.buckets) == 1
