"""A burst of 20,000 messages to 200 clients."""

import asyncio
import subprocess
import sys

from asgiref.sync import sync_to_async

from bazis_ws_channels import publishing
from tests.delivery import burst_clients
from tests.kit import ROOT, Daphne

MESSAGES, CLIENTS = 20_000, 200


class Unpinging(Daphne):
    """daphne without keep-alive pings, which would come between the frames that are compared."""

    def command(self):
        return [*super().command(), "--ping-interval", "3600"]


class Clients:
    """The process of `burst_clients.py`."""

    def __init__(self, urls):
        self._process = subprocess.Popen(
            [sys.executable, "-m", burst_clients.__name__],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._process.stdin.write("\n".join([*urls, str(MESSAGES)]))
        self._process.stdin.close()
        assert self._process.stdout.readline() == "connected\n"

    def result(self):
        line = self._process.stdout.readline().strip()
        self._process.stdout.close()
        self._process.wait()
        return line


async def test_every_message_of_a_burst_arrives_in_order_and_once_at_each_client(
    daphne, alice, unhurried
):
    """Broadcasts as fast as Redis takes them: 4,000,000 deliveries by two daphne processes.

    Not recorded, for positions would make each frame another one.
    """
    servers = [
        await sync_to_async(daphne)(Unpinging, BAZIS_WS_MAX_CONNECTIONS=CLIENTS) for _ in range(2)
    ]
    token = alice.ws_token()
    urls = [f"{servers[n % 2].ws}?token={token}" for n in range(CLIENTS)]
    clients = await asyncio.to_thread(Clients, urls)
    for start in range(0, MESSAGES, 500):
        numbers = range(start, start + 500)
        await asyncio.gather(*(publishing.abroadcast({"n": n}, record=False) for n in numbers))
    assert await asyncio.to_thread(clients.result) == "complete"
