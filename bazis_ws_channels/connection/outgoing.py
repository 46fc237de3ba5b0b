"""How a consumer sends."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from .. import protocol
from .intake import Intake
from .line import Line

__all__ = ["Outgoing"]


class Outgoing(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """A consumer all of whose ways to send lead over one line, and so keep one order."""

    _intake: Intake
    _line: Line

    def push(self, frame: str | bytes) -> None:
        """Send a frame after those before it, without waiting; silence once closed."""
        self._line.push(frame)

    async def send(
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: Any = False
    ) -> None:
        """Send a frame, in order with what `push` sends."""
        frame = text_data if text_data is not None else bytes_data
        if frame is None:
            raise ValueError("You must pass one of bytes_data or text_data")
        self.push(frame)
        if close:
            await self.close(None if close is True else close)

    async def send_json(self, content: Any, close: Any = False) -> None:
        """Encode `content` and send it; channels' own would go around this class's `send`."""
        await self.send(text_data=await self.encode_json(content), close=close)

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the connection; the reason stays here, for daphne can't send one."""
        await self._line.close(1000 if code is None else code)

    async def fail(
        self, code: str, detail: str, close: int | None = None, retry_after: float | None = None
    ) -> None:
        """Send an `error` message, and close the connection where a close code is given."""
        if close in protocol.BLAMES_CLIENT:
            self._intake.stop()
        await self._line.fail(code, detail, close, retry_after)
