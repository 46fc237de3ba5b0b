"""A client that stops reading is cut off with bounded memory, and hurts nobody else."""

import asyncio
import socket

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from tests.delivery.burst_clients import connect
from tests.delivery.conftest import DeliveryDaphne, DeliveryUvicorn
from tests.kit import PATIENCE_SECONDS, Client, Daphne, Uvicorn, until

MEGABYTE = 1_000_000
#: In the project's application channels' session middleware wraps `send`; in ours nothing does.
SERVERS = [Daphne, DeliveryDaphne, Uvicorn, DeliveryUvicorn]


def is_cut(client):
    """Tell whether the server ends the connection, by reading all that is left."""
    client.settimeout(PATIENCE_SECONDS)  # it waits a moment for the client to take a close frame
    try:
        while client.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("server_class", SERVERS)
async def test_a_client_that_reads_nothing_is_cut_off(daphne, alice, bob, server_class):
    """50 MB are published to it: the server grows by less than 20."""
    server = await sync_to_async(daphne)(server_class)
    async with Client(server.ws, bob.ws_token()) as bystander:
        await bystander.subscribed()
        blob = "x" * MEGABYTE
        for _ in range(20):  # what the server needs for big messages at all
            await bob.ws_apublish(blob[:900_000])
            await bystander.data()
        slow = await asyncio.to_thread(connect, f"{server.ws}?token={alice.ws_token()}")
        before, most = server.memory_bytes, 0
        for n in range(500):
            await alice.ws_apublish([n, blob[:100_000]])
            if n % 10 == 0:
                await bob.ws_apublish(n)
                assert await bystander.data() == n
                most = max(most, server.memory_bytes)
        assert (most - before) / MEGABYTE < 20
        await until(sync_to_async(lambda: presence.count([alice]) == 0))
        assert await bystander.settle() == []
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert await asyncio.to_thread(is_cut, slow)
        slow.close()
    assert server.tracebacks == 0
    await until(lambda: "A client that doesn't read was cut off" in server.log)


async def test_a_client_that_reads_slowly_but_reads_gets_everything(daphne, alice):
    """Frames that fit into the buffer are kept for it, in order."""
    server = await sync_to_async(daphne)(BAZIS_WS_SEND_BUFFER_BYTES=20 * MEGABYTE)
    slow = await asyncio.to_thread(connect, f"{server.ws}?token={alice.ws_token()}")
    blob = "x" * 100_000
    for n in range(150):
        assert await alice.ws_apublish([n, blob]) == 1
    received = await asyncio.to_thread(read, slow, 150 * (len(blob) + 40))
    numbers = [int(part.split(b",")[0]) for part in received.split(b'"data": [')[1:]]
    assert numbers == list(range(150))
    slow.close()


def read(client, at_least_bytes):
    """Read frames of about so many bytes together, as they come."""
    client.settimeout(20)
    received = bytearray()
    while len(received) < at_least_bytes - 4000:
        data = client.recv(1 << 16)
        assert data
        received += data
    return bytes(received)
