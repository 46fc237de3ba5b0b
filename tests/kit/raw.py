"""A WebSocket over a bare socket: for frames that no client library would send."""

import base64
import os
import socket
import struct
from urllib.parse import urlsplit

from tests.kit.waiting import PATIENCE_SECONDS

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=True, length=None):
    """Return one frame (RFC 6455, section 5.2), however wrong."""
    size = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head += bytes([masked << 7 | size])
    elif size < 65536:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    # A mask of zeros is a mask.
    return head + b"\0\0\0\0" + payload


class RawSocket:
    """A socket that has done the handshake and nothing else: ``RawSocket(server.ws, token)``.

    Its `socket` is there to be read and written without rules; `buffer` holds what was read from
    it and not yet taken.
    """

    def __init__(self, url, token=None):
        parts = urlsplit(url)
        query = parts.query if token is None else f"token={token}"
        target = f"{parts.path}?{query}" if query else parts.path
        self.buffer = b""
        self.socket = socket.create_connection(
            (parts.hostname, parts.port), timeout=PATIENCE_SECONDS
        )
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Close without a word."""
        self.socket.close()

    def text(self, text):
        """Send a text frame."""
        self.socket.sendall(frame(TEXT, text.encode()))

    def subscribed(self):
        """Take the frames up to the `subscribed`, and nothing behind it."""
        while b'"subscribed"' not in self.message()[1]:
            pass
        return self

    def message(self):
        """Return the server's next frame as (opcode, payload)."""
        opcode, size = self._take(1)[0] & 15, self._take(1)[0]
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return opcode, self._take(size)

    def messages(self):
        """Yield the server's frames as (opcode, payload) until it hangs up."""
        try:
            while True:
                yield self.message()
        except (EOFError, ConnectionError):
            return

    def read_until(self, mark):
        """Read until `mark` has come; False if the server hung up before."""
        seen = self.buffer
        try:
            while mark not in seen:
                self._fill()
                seen = (seen + self.buffer)[-65536:]
        except (EOFError, ConnectionError):
            return False
        finally:
            self.buffer = b""
        return True

    def close_code(self):
        """Read on to the server's close frame; return its code, None if there was none."""
        for opcode, payload in self.messages():
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0] if payload else 1005
        return None

    def _take(self, size):
        while len(self.buffer) < size:
            self._fill()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _fill(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise EOFError
        self.buffer += chunk
