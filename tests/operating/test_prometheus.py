"""A real Prometheus scrapes two daphnes and a gunicorn; its numbers are those of the script."""

import asyncio
import json
import re
import shutil
import urllib.parse
from contextlib import AsyncExitStack

import pytest

pytest.importorskip("prometheus_client")

from tests.kit import Client, Gunicorn, Server, fetch, until, wait_until
from tests.operating.test_docs import QUERIES

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus"),
]

URLS = {"ROOT_URLCONF": "tests.operating.urls"}
CONFIG = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: mysite
    static_configs: [{{targets: [{targets}]}}]
"""
CLIENTS, DIRECT, BROADCASTS = 20, 30, 10


class Prometheus(Server):
    """Prometheus, with its data in a folder."""

    ready = re.compile(r'msg="Listening on" address=127.0.0.1:(?P<port>\d+)')

    def __init__(self, folder, targets):
        self.folder = folder
        names = ", ".join(f'"{target}"' for target in targets)
        (folder / "prometheus.yml").write_text(CONFIG.format(targets=names))
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
    """Two daphnes and a gunicorn, and who scrapes them."""
    servers = [daphne(**URLS), daphne(**URLS), daphne(Gunicorn, **URLS)]
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


async def test_the_numbers_agree(fleet, alice, bob):
    """With what a script did, exactly."""
    first, second, web, prometheus = fleet
    agrees = prometheus.agrees
    await agrees("count(bazis_ws_build_info)", 3)
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
    await agrees("sum(bazis_ws_connections)", 0)
    await agrees("sum(bazis_ws_connections_total)", CLIENTS)
    await agrees('sum(bazis_ws_closed_total{code="1000"})', CLIENTS)
    for query in QUERIES:  # the dashboard's panels have something to show
        await prometheus.shows(query)
