"""docs/operations.md, the dashboard and the alerts name what there is, and nothing else."""

import json
import logging
import re
import shutil
import subprocess

import pytest
from django.test import Client

pytest.importorskip("prometheus_client")

from tests.kit import ROOT
from tests.operating.scraping import NAMES, own

DOCS = (ROOT / "docs/operations.md").read_text()
BLOCKS = re.compile(r"<!-- (?:file|snippet): (.+?) -->\n```\w+\n(.*?)```", re.S)
SNIPPETS = dict(BLOCKS.findall(DOCS))
DASHBOARD = json.loads((ROOT / "docs/grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
RULES = re.findall(r"expr: (.+)", SNIPPETS["alerts.yml"])

#: Which labels each metric has, besides those that Prometheus adds.
ADDED = {"job", "instance", "le"}
#: What is not the package's: Prometheus has it, and prometheus_client.
OTHERS = {"up", "process_open_fds", "process_max_fds"}
ALERTS = re.findall(r"alert: (\w+)", SNIPPETS["alerts.yml"])


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
    assert names or OTHERS & set(re.findall(r"\w+", query))
    assert names <= NAMES
    known = labels()
    for name, selector in re.findall(r"(bazis_ws_\w+)\{([^}]*)\}", query):
        used = set(re.findall(r"(\w+)=", selector))
        assert used <= known[name] | ADDED, name
    grouped = {
        part.strip() for by in re.findall(r"by \(([^)]*)\)", query) for part in by.split(",")
    }
    assert grouped <= set().union(*(known[name] for name in names)) | ADDED


def test_each_alert_has_a_row_that_says_what_to_do():
    """And the other way round."""
    assert re.findall(r"^\| `(WebSocket\w+)`", DOCS, re.M) == ALERTS


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
    assert f"{len(ALERTS)} rules found" in done.stdout + done.stderr
    queries = [query.replace("$__rate_interval", "5m").replace("$job", ".*") for query in QUERIES]
    rules = [{"record": f"query_{n}", "expr": query} for n, query in enumerate(queries)]
    (tmp_path / "queries.json").write_text(json.dumps({"groups": [{"name": "q", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "queries.json")],
        text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["/metrics", "/health"])
def test_the_settings_let_prometheus_in(settings, path):
    """It asks for its target, without TLS; Django's own middleware refuses that by default."""
    settings.ROOT_URLCONF = "tests.operating.urls"
    settings.MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
    ]
    settings.SECURE_SSL_REDIRECT = True
    target = re.search(r'targets: \["([^"]+)"', SNIPPETS["prometheus.yml"])[1]
    settings.ALLOWED_HOSTS = ["example.com"]
    assert Client().get(path, HTTP_HOST=target).status_code == 400
    allowed = {}
    exec(SNIPPETS["scraped"], allowed)
    settings.ALLOWED_HOSTS = allowed["ALLOWED_HOSTS"]
    assert Client().get(path, HTTP_HOST=target).status_code == 301
    settings.SECURE_REDIRECT_EXEMPT = allowed["SECURE_REDIRECT_EXEMPT"]
    assert Client().get(path, HTTP_HOST=target).status_code == 200


#: For each alert: series of which it knows, minute by minute, in which it fires after 10 minutes.
FIRING = {
    "WebSocketProcessIsDown": {'up{job="mysite",instance="a"}': "1x5 0x10"},
    "WebSocketRedisIsGone": {'bazis_ws_users_online{job="mysite"}': "5x5 stale _x9"},
    "WebSocketPublishingFails": {'bazis_ws_published_total{outcome="failed"}': "0x8 3x7"},
    "WebSocketServerErrors": {'bazis_ws_closed_total{code="4500"}': "0x8 100x7"},
    "WebSocketDeliveryIsSlow": {
        'bazis_ws_delivery_lag_seconds_bucket{le="1.0"}': "0+90x20",
        'bazis_ws_delivery_lag_seconds_bucket{le="2.5"}': "0+100x20",
        'bazis_ws_delivery_lag_seconds_bucket{le="+Inf"}': "0+100x20",
    },
    "WebSocketReconnectStorm": {
        "bazis_ws_connections_total": "0+3000x20", "bazis_ws_connections": "100x20",
    },
    "WebSocketTokensAreRefused": {'bazis_ws_refused_total{code="invalid_token"}': "0+400x20"},
    "WebSocketFilesRunOut": {
        'process_open_fds{instance="a"}': "900x20", 'process_max_fds{instance="a"}': "1000x20",
        'bazis_ws_build_info{instance="a"}': "1x20",
    },
}  # fmt: skip
#: The same series where all is well.
CALM = {
    'up{job="mysite",instance="a"}': "1x20",
    'bazis_ws_users_online{job="mysite"}': "5x20",
    'bazis_ws_published_total{outcome="failed"}': "7x20",
    'bazis_ws_closed_total{code="4500"}': "7x20",
    'bazis_ws_delivery_lag_seconds_bucket{le="1.0"}': "0+100x20",
    'bazis_ws_delivery_lag_seconds_bucket{le="2.5"}': "0+100x20",
    'bazis_ws_delivery_lag_seconds_bucket{le="+Inf"}': "0+100x20",
    "bazis_ws_connections_total": "0+30x20",
    "bazis_ws_connections": "100x20",
    'bazis_ws_refused_total{code="invalid_token"}': "0+4x20",
    'process_open_fds{instance="a"}': "300x20",
    'process_max_fds{instance="a"}': "1000x20",
    'bazis_ws_build_info{instance="a"}': "1x20",
}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's prometheus")
def test_alerts_fire_when_they_should(tmp_path):
    """Each by what it is about, and none while all is well."""
    assert list(FIRING) == ALERTS

    def case(series, firing):
        silent = [name for name in ALERTS if name not in firing]
        checks = [{"alertname": name, "eval_time": "11m", "exp_alerts": []} for name in silent]
        states = [
            {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
             "eval_time": "11m", "exp_samples": [{"labels": "{}", "value": 1}]}
            for name in firing
        ]  # fmt: skip
        return {
            "interval": "1m",
            "input_series": [{"series": k, "values": v} for k, v in series.items()],
            "alert_rule_test": checks,
            "promql_expr_test": states,
        }

    (tmp_path / "alerts.yml").write_text(SNIPPETS["alerts.yml"])
    tests = [case(CALM, ())]
    for name, series in FIRING.items():
        rest = {} if name == "WebSocketRedisIsGone" else CALM
        tests.append(case({**rest, **series}, (name,)))
    (tmp_path / "tests.json").write_text(
        json.dumps({"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": tests})
    )
    command = ["promtool", "test", "rules", "tests.json"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
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
