"""docs/operations.md, the dashboard and the alerts name what there is, and nothing else."""

import json
import logging
import re
import shutil
import subprocess

import pytest

from tests.kit import ROOT
from tests.operating.test_metrics import NAMES, own

DOCS = (ROOT / "docs/operations.md").read_text()
BLOCKS = re.compile(r"<!-- (?:file|snippet): (.+?) -->\n```\w+\n(.*?)```", re.S)
SNIPPETS = dict(BLOCKS.findall(DOCS))
DASHBOARD = json.loads((ROOT / "docs/grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
RULES = re.findall(r"expr: (.+)", SNIPPETS["alerts.yml"])

#: Which labels each metric has, besides those that Prometheus adds.
ADDED = {"job", "instance", "le"}


def metrics_in(text):
    return set(re.findall(r"\bbazis_ws_\w+", text))


def labels():
    """Return the labels of each metric."""
    from bazis_ws_channels.counters import counts

    counts.note_closed(1000)
    counts.note_refused("origin")
    found = {}
    for name, pairs in own():
        found.setdefault(name, set()).update(label for label, _ in pairs)
    return found


@pytest.mark.parametrize("query", [*QUERIES, *RULES])
def test_queries_are_about_metrics_that_exist(query):
    """Their labels, too."""
    names = metrics_in(query)
    assert names
    assert names <= NAMES
    known = labels()
    for name, selector in re.findall(r"(bazis_ws_\w+)\{([^}]*)\}", query):
        used = set(re.findall(r"(\w+)=", selector))
        assert used <= known[name] | ADDED, name
    grouped = {
        part.strip() for by in re.findall(r"by \(([^)]*)\)", query) for part in by.split(",")
    }
    assert grouped <= set().union(*(known[name] for name in names)) | ADDED


def test_every_metric_is_on_the_dashboard_and_in_the_table():
    """Nothing is measured that nobody is told how to read."""
    assert metrics_in(" ".join(QUERIES)) >= NAMES - {"bazis_ws_delivery_lag_seconds_count"}
    rows = set(re.findall(r"^\| `(bazis_ws_\w+)", DOCS, re.M))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAMES}
    assert rows == families


def test_the_dashboard_has_no_double():
    """Panels have ids and places of their own."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's prometheus")
def test_prometheus_takes_the_files(tmp_path):
    """As the page shows them; the dashboard's queries as rules."""
    for name in ("prometheus.yml", "alerts.yml"):
        (tmp_path / name).write_text(SNIPPETS[name])
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 rules found" in done.stdout + done.stderr
    queries = [query.replace("$__rate_interval", "5m").replace("$job", ".*") for query in QUERIES]
    rules = [{"record": f"query_{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "queries.json").write_text(json.dumps({"groups": [{"name": "q", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "queries.json")],
        text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_urls():
    """The snippet's views are there."""
    namespace = {}
    exec(SNIPPETS["mysite/urls.py"], namespace)
    assert [str(each.pattern) for each in namespace["urlpatterns"]] == ["metrics", "health"]


def test_formatter():
    """The formatter writes what a record has."""
    namespace = {}
    exec(SNIPPETS["logging"], namespace)
    record = logging.LogRecord("bazis_ws_channels", logging.INFO, "", 1, "hi %s", ("x",), None)
    record.user, record.close_code = 5, 1000
    line = json.loads(namespace["JsonFormatter"]().format(record))
    assert line == {"level": "INFO", "logger": "bazis_ws_channels", "message": "hi x",
                    "user": 5, "close_code": 1000}  # fmt: skip
