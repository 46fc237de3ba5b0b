"""The WebSocket bytes that a client needs: no library, so that the generator stays cheap."""

import base64
import os
import struct

__all__ = ["CLOSE", "HEAD_END", "PING", "PONG", "TEXT", "frame", "handshake", "split"]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
HEAD_END = b"\r\n\r\n"


def handshake(host: str, path: str) -> bytes:
    """Return the upgrade request of one client."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one client frame, masked with zeros: legal, and free to apply."""
    if len(payload) < 126:
        return struct.pack("!BB", 128 | opcode, 128 | len(payload)) + bytes(4) + payload
    return struct.pack("!BBH", 128 | opcode, 254, len(payload)) + bytes(4) + payload


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Cut server bytes into whole (opcode, payload) frames and the unfinished rest."""
    frames, position, size = [], 0, len(data)
    while size - position >= 2:
        length, start = data[position + 1], position + 2
        if length >= 126:
            start += 2 if length == 126 else 8
            if start > size:
                break
            length = int.from_bytes(data[position + 2 : start], "big")
        if start + length > size:
            break
        frames.append((data[position] & 15, data[start : start + length]))
        position = start + length
    return frames, data[position:]
