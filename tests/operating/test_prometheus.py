"""A real Prometheus scrapes two daphnes and a gunicorn; its numbers are those of the script."""

import asyncio
import json
import re
import shutil
import urllib.error
import urllib.parse
from contextlib import AsyncExitStack

import pytest

pytest.importorskip("prometheus_client")

from tests.kit import Client, Gunicorn, Server, channel_layers, fetch, until, wait_until
from tests.operating.test_docs import ALERTS, QUERIES, SNIPPETS

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus"),
]

URLS = {"ROOT_URLCONF": "tests.operating.urls"}
CONFIG = """
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: mysite
    static_configs: [{{targets: [{targets}]}}]
"""
CLIENTS, DIRECT, BROADCASTS, FAILED = 20, 30, 10, 3
RESUMED, LOST = 4, 2


class Prometheus(Server):
    """Prometheus, with its data in a folder."""

    ready = re.compile(r'msg="Listening on" address=127.0.0.1:(?P<port>\d+)')

    def __init__(self, folder, targets):
        self.folder = folder
        names = ", ".join(f'"{target}"' for target in targets)
        (folder / "prometheus.yml").write_text(CONFIG.format(targets=names))
        (folder / "alerts.yml").write_text(SNIPPETS["alerts.yml"])
        super().__init__()

    def command(self):
        """Return the command line."""
        return [
            "prometheus",
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            "--web.listen-address=127.0.0.1:0",
        ]

    async def ask(self, query):
        """Return the values that a query has now."""
        url = f"{self.http}/api/v1/query?query={urllib.parse.quote(query)}"
        answer = json.loads(await asyncio.to_thread(fetch, url))
        return [float(each["value"][1]) for each in answer["data"]["result"]]

    async def rules(self):
        """Return the state of each alert, by name, once all were evaluated."""

        async def look():
            answer = json.loads(await asyncio.to_thread(fetch, f"{self.http}/api/v1/rules"))
            rules = [each for group in answer["data"]["groups"] for each in group["rules"]]
            assert not [each for each in rules if each["health"] == "err"]
            is_whole = len(rules) == len(ALERTS) and all(each["health"] == "ok" for each in rules)
            return {each["name"]: each["state"] for each in rules} if is_whole else None

        return await until(look)

    async def shows(self, query):
        """Wait until a query of the dashboard finds something."""
        query = query.replace("$__rate_interval", "1m").replace("$job", ".*")
        await until(lambda: self.ask(query))

    async def agrees(self, query, number):
        """Wait until a query answers a number."""

        async def look():
            return await self.ask(query) == [number]

        try:
            await until(look)
        except TimeoutError:
            found = await self.ask(query)
            raise AssertionError(f"{query}: {found}, expected {number}") from None


@pytest.fixture
def fleet(daphne, tmp_path):
    """Two daphnes, a gunicorn, a daphne that does not reach Redis, and who scrapes them."""
    nowhere = {**URLS, "CHANNEL_LAYERS": channel_layers("redis://127.0.0.1:1")}
    servers = [
        daphne(**URLS),
        daphne(**URLS),
        daphne(Gunicorn, **URLS),
        daphne(**nowhere),
    ]
    prometheus = Prometheus(tmp_path, [f"127.0.0.1:{each.port}" for each in servers])
    wait_until(lambda: "Server is ready" in prometheus.log)
    yield *servers, prometheus
    prometheus.stop()
    print(prometheus.log)


async def connect(stack, servers, users):
    """Return clients, spread over servers and users."""
    clients = []
    for number in range(CLIENTS):
        user, server = users[number % 2], servers[number // 2 % 2]
        client = await stack.enter_async_context(Client(server.ws, user.ws_token()))
        await client.subscribed()
        clients.append(client)
    return clients


async def come_back(stack, server, user, seen):
    """Open sessions that bring a position, and some whose position nobody knows any more."""
    [position] = [each["position"] for each in seen if each["type"] == "subscribed"]
    positions = [f"{position['user']}~{position['common']}"] * RESUMED + ["gone.1~gone.2"] * LOST
    for each in positions:
        token = f"{user.ws_token()}&since={each}"
        client = await stack.enter_async_context(Client(server.ws, token))
        is_known = not each.startswith("gone")
        assert (await client.subscribed())["recovered"] is is_known


async def end_sessions(user, client):
    """Log the user out everywhere."""
    await user.ws_adisconnect()
    assert await client.closed() == 4401


async def test_the_numbers_agree(fleet, alice, bob):
    """With what a script did, exactly."""
    first, second, web, cut_off, prometheus = fleet
    agrees = prometheus.agrees
    await agrees("count(bazis_ws_build_info)", 4)
    published = await prometheus.ask('sum(bazis_ws_published_total{kind="user"})')
    async with AsyncExitStack() as stack:
        clients = await connect(stack, (first, second), (alice, bob))
        for number in range(DIRECT):
            url = f"{web.http}/publish/{alice.pk}/"
            answer = await asyncio.to_thread(fetch, url, {"number": number})
            assert json.loads(answer) == {"connections": CLIENTS // 2}
        for _ in range(BROADCASTS):
            await asyncio.to_thread(fetch, f"{web.http}/broadcast/", {"to": "all"})
        for client in clients:
            await client.send("no json")
            await client.receive_type("error")
        delivered = DIRECT * CLIENTS // 2 + BROADCASTS * CLIENTS
        await agrees("sum(bazis_ws_delivered_total)", delivered)
        await agrees("sum(bazis_ws_delivery_lag_seconds_count)", delivered)
        await agrees("sum(bazis_ws_connections)", CLIENTS)
        await agrees("sum(bazis_ws_sessions)", CLIENTS)
        await agrees(
            f'sum(bazis_ws_connections{{instance="127.0.0.1:{first.port}"}})', CLIENTS // 2
        )
        await agrees("sum(bazis_ws_users_online)", 2)
        await agrees("sum(bazis_ws_received_total)", CLIENTS)
        await agrees('sum(bazis_ws_refused_total{code="bad_message"})', CLIENTS)
        await agrees('sum(bazis_ws_published_total{kind="user"})', published[0] + DIRECT)
        await agrees('sum(bazis_ws_published_total{kind="common",outcome="ok"})', BROADCASTS)
        await come_back(stack, first, alice, clients[0].seen)
        await agrees('sum(bazis_ws_recovered_total{recovered="true"})', RESUMED)
        await agrees('sum(bazis_ws_recovered_total{recovered="false"})', LOST)
        for _ in range(FAILED):
            with pytest.raises(urllib.error.HTTPError, match="500"):
                await asyncio.to_thread(fetch, f"{cut_off.http}/broadcast/", {"to": "nobody"})
        await agrees('sum(bazis_ws_published_total{outcome="failed"})', FAILED)
        await end_sessions(alice, clients[0])
        ended = CLIENTS // 2 + RESUMED + LOST
        await agrees('sum(bazis_ws_closed_total{code="4401"})', ended)
        await agrees('sum(bazis_ws_refused_total{code="logged_out"})', ended)
    await agrees("sum(bazis_ws_connections)", 0)
    await agrees("sum(bazis_ws_connections_total)", CLIENTS + RESUMED + LOST)
    await agrees('sum(bazis_ws_closed_total{code="1000"})', CLIENTS // 2)
    await agrees("sum(bazis_ws_closed_total)", CLIENTS + RESUMED + LOST)
    await agrees("sum(bazis_ws_missed_total)", 0)
    await agrees("sum(bazis_ws_redis_reconnects_total)", 0)
    for query in QUERIES:  # the dashboard's panels have something to show
        await prometheus.shows(query)
    states = await prometheus.rules()
    assert states.pop("WebSocketPublishingFails") == "firing"
    assert set(states.values()) == {"inactive"}
