"""A hand-made asyncio server: one Redis subscription, one frame a message, every socket.

No authentication, no groups, no presence, no limits, no backpressure. It is no product but a
measure: the least that a Python process must do to bring one message to many sockets.
"""

import asyncio
import base64
import gc
import hashlib
import os
import socket
import struct
import sys

from redis import asyncio as aioredis

CHANNEL = "floor"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SOCKETS: set[asyncio.Transport] = set()


class Client(asyncio.Protocol):
    """One socket: a handshake, then pings are answered and everything else is ignored."""

    def connection_made(self, transport):
        self.transport = transport
        self.head = b""

    def data_received(self, data):
        if self.transport in SOCKETS:
            self.frame(data)
            return
        self.head += data
        if b"\r\n\r\n" not in self.head:
            return
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in self.head.split(b"\r\n"))
        }
        if b"sec-websocket-key" in headers:
            self.upgrade(headers[b"sec-websocket-key"])
        else:
            self.stats()

    def upgrade(self, key: bytes) -> None:
        """Answer the handshake and start to deliver."""
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        SOCKETS.add(self.transport)

    def stats(self) -> None:
        """Answer the harness."""
        gc.collect()
        self.transport.write(b"HTTP/1.0 200 OK\r\nContent-Length: 14\r\n\r\n" + b'{"queries": 0}')
        self.transport.close()

    def frame(self, data: bytes) -> None:
        """Close when asked to; the floor reads nothing else."""
        if data[0] & 15 == 8:
            self.transport.close()

    def connection_lost(self, exc):
        SOCKETS.discard(self.transport)


def encode(payload: bytes) -> bytes:
    """Return one unmasked text frame."""
    if len(payload) < 126:
        return struct.pack("!BB", 129, len(payload)) + payload
    return struct.pack("!BBH", 129, 126, len(payload)) + payload


async def main(fd: int) -> None:
    """Listen on the given socket and forward what is published.

    BENCH_COPIES above 1 repeats each frame in one write, which costs the server nothing more:
    so the load generator's own limit is found.
    """
    copies = int(os.environ.get("BENCH_COPIES", "1"))
    client = aioredis.from_url(os.environ["BENCH_REDIS_URL"], socket_timeout=None)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe(CHANNEL)
    loop = asyncio.get_running_loop()
    await loop.create_server(Client, sock=socket.socket(fileno=fd))
    async for message in pubsub.listen():
        frame = encode(message["data"]) * copies
        for transport in list(SOCKETS):
            transport.write(frame)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
