"""The WebSocket consumer: one connection of a user, or of somebody who is about to be one."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar

from channels.consumer import get_handler_name
from channels.db import aclose_old_connections
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured

from . import protocol
from .authentication import Identity, aauthenticate
from .conf import conf
from .exceptions import AuthenticationFailed, ChannelLayerUnavailable, PresenceUnavailable
from .identity import pk_from_json
from .limits import TokenBucket
from .outbox import Outbox, make_outbox
from .presence.agent import Agent
from .protocol import BadMessage, error_frame
from .sessions import Session
from .watching import WatchForbidden

__all__ = ["UserWsConsumer"]

logger = logging.getLogger("bazis_ws_channels")

#: Message types that a method may serve: no leading underscore, nothing but a name.
_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class UserWsConsumer(AsyncJsonWebsocketConsumer):
    """Serve the protocol of this package on one connection.

    To add a message from clients, write a method `client_<type>` (dots become underscores); it
    gets the decoded object and needs a session unless `open_types` names the type. It may raise
    `BadMessage`. To add one from the channel layer, write a method of the event's type, as in
    any consumer. Client messages run one after another, and so do events; the two don't wait
    for each other.

    Unlike channels' consumers, it makes no task and no thread hop for a group message, and it
    cleans up however the connection ends.
    """

    #: Types served without a session.
    open_types: ClassVar[frozenset[str]] = frozenset({"ping"})

    session: Session | None = None
    _outbox: Outbox | None = None
    _auth_timer: asyncio.TimerHandle | None = None
    _bucket: TokenBucket | None = None
    _lock: asyncio.Lock
    _tasks: set[asyncio.Task[Any]]
    _gone: asyncio.Future[None]
    _is_closing = False
    _is_dispatching = False
    _rate_misses = 0
    _bad_messages = 0

    # --- the connection ---------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the connection: ASGI's entry."""
        if (await receive())["type"] != "websocket.connect":
            return
        self.scope, self.base_send = scope, send
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        self._lock, self._tasks = asyncio.Lock(), set()
        self._gone = asyncio.get_running_loop().create_future()
        code = 1006
        try:
            await self.connect()
            code = await self._serve(receive)
        except asyncio.CancelledError:
            await self._close(protocol.CLOSE_GOING_DOWN)
            raise
        finally:
            await self._clean_up()
            await self.disconnect(code)

    async def connect(self) -> None:
        """Accept the connection. Whoever isn't welcome is told why, and then closed: a browser
        can't tell a refused handshake from a broken network.
        """
        offered = self.scope.get("subprotocols") or ()
        await self.accept(protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in offered else None)
        self._outbox = make_outbox(self.base_send, self._overflowed)

    async def _serve(self, receive: Callable[[], Awaitable[Any]]) -> int:
        """Serve the connection; return the close code."""
        self._await_token()
        await self._guard(self._open())
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return event.get("code") or 1005
            if not self._is_closing:
                await self._guard(self._receive_frame(event.get("text"), event.get("bytes")))

    async def _open(self) -> None:
        Agent.current().sockets.add(self)
        self.channel_name = await self.channel_layer.new_channel()
        listeners = getattr(self.channel_layer, "reconnect_listeners", None)
        if listeners is not None:
            listeners.add(Agent.current().messages_missed)
        take_directly = getattr(self.channel_layer, "receive_directly", None)
        if take_directly is not None:
            take_directly(self.channel_name, self._take)
        self._spawn(self._guard(self._deliver()))
        pending = self.scope.get("ws_authentication")
        if pending is not None:
            identity = await pending
            if identity is not None:
                await self._begin(identity)

    async def _clean_up(self) -> None:
        self._is_closing = True
        Agent.current().sockets.discard(self)
        if self._auth_timer is not None:
            self._auth_timer.cancel()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if self._outbox is not None:
            self._outbox.abandon()
        if tasks:
            await asyncio.wait(tasks)
        if not self._gone.done():
            self._gone.set_result(None)
        await self._leave()

    # --- what clients send ------------------------------------------------------------------

    async def _receive_frame(self, text: str | None, data: bytes | None) -> None:
        size_bytes = len(text.encode()) if text is not None else len(data or b"")
        if size_bytes > conf.BAZIS_WS_MAX_FRAME_BYTES:
            limit = conf.BAZIS_WS_MAX_FRAME_BYTES
            return await self.fail(
                "message_too_big", f"At most {limit} bytes a frame", protocol.CLOSE_TOO_BIG
            )
        if not await self._is_in_time():
            return
        try:
            if text is None:
                raise BadMessage("Frames must be text.")
            await self.receive_json(protocol.parse(text))
        except BadMessage as error:
            await self._count_bad_message(str(error))

    async def _is_in_time(self) -> bool:
        """Take a frame off the client's allowance; close if it never stops."""
        if self._bucket is None:
            self._bucket = TokenBucket(conf.BAZIS_WS_FRAMES_PER_SECOND, conf.BAZIS_WS_FRAMES_BURST)
        if self._bucket.take():
            self._rate_misses = max(0, self._rate_misses - 1)
            return True
        self._rate_misses += 1
        if self._rate_misses > conf.BAZIS_WS_FRAMES_BURST:
            await self.fail("rate_limited", "Too many frames", protocol.CLOSE_TOO_MUCH)
        elif self._rate_misses == 1:
            limit = conf.BAZIS_WS_FRAMES_PER_SECOND
            self.push(error_frame("rate_limited", f"At most {limit} frames a second; dropped"))
        return False

    async def _count_bad_message(self, detail: str) -> None:
        self._bad_messages += 1
        is_last = self._bad_messages >= conf.BAZIS_WS_MAX_BAD_MESSAGES
        await self.fail("bad_message", detail, protocol.CLOSE_BAD_CLIENT if is_last else None)

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        """Act on one message of the client.

        Raises:
            BadMessage: it isn't one of the protocol.
        """
        if "token" in content and "type" not in content:
            return await self._receive_token(content["token"])
        kind = content.get("type")
        if not isinstance(kind, str):
            raise BadMessage("A message needs a `type`, a string, or a `token`.")
        name = f"client_{kind.replace('.', '_')}"
        handler = getattr(self, name, None) if _TYPE.fullmatch(kind) else None
        if handler is None:
            raise BadMessage(f"Unknown type: {kind[:64]!r}")
        if kind not in self.open_types and (self.session is None or not self.session.is_live):
            return await self.fail("not_authenticated", "Send a token first.")
        await handler(content)

    async def client_ping(self, content: dict[str, Any]) -> None:
        """Answer a client's sign of life."""
        self.push(protocol.PONG)

    async def client_watch(self, content: dict[str, Any]) -> None:
        """Follow users' online status."""
        pks = _watched(content)
        async with self._lock:
            if self.session is None:
                return
            try:
                await self.session.watches.watch(self.session.user, pks)
            except WatchForbidden as error:
                self.push(error_frame("forbidden", str(error)))

    async def client_unwatch(self, content: dict[str, Any]) -> None:
        """Follow them no longer."""
        pks = _watched(content)
        async with self._lock:
            if self.session is not None:
                await self.session.watches.unwatch(pks)

    # --- the session ------------------------------------------------------------------------

    async def _receive_token(self, token: Any) -> None:
        if not isinstance(token, str):
            raise BadMessage("`token` must be a string.")
        await self._begin(await aauthenticate(token))

    async def _begin(self, identity: Identity) -> None:
        """Open a session, renew it, or change its user."""
        async with self._lock:
            if self.session is not None and self.session.pk == identity.user.pk:
                await self.session.renew(identity)
            else:
                await self._leave_locked()
                self.session = Session(self, identity)
                await self.session.open(identity)
                self._spawn(self._guard(self.session_started()))
            self.scope["user"] = identity.user
            if self._auth_timer is not None:
                self._auth_timer.cancel()
                self._auth_timer = None

    async def session_started(self) -> None:
        """Do what a project wants done at each beginning of a session, not at its renewals.

        For instance, deliver what was saved while the user was away. Nothing waits for it; it
        ends with the connection. The signal `user_online` is no substitute: who comes back
        within the grace never went offline.
        """

    async def _end(self, code: str, detail: str, close: int | None = None) -> None:
        """End the session, if there is one; the socket waits for a token or closes."""
        async with self._lock:
            await self._end_locked(code, detail, close)

    async def _end_locked(self, code: str, detail: str, close: int | None = None) -> None:
        await self.fail(code, detail, close)
        self.scope["user"] = AnonymousUser()
        await self._leave_locked()
        if not self._is_closing and self._auth_timer is None:
            self._await_token()

    async def _leave(self) -> None:
        async with self._lock:
            await self._leave_locked()

    async def _leave_locked(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            await session.close()

    def expire(self, session: Session, identity: Identity) -> None:
        """End `session`: the time of `identity`, its token's, has passed."""
        if session is self.session:
            self._spawn(self._guard(self._expired(session, identity)))

    async def _expired(self, session: Session, identity: Identity) -> None:
        async with self._lock:  # a newer token may be on its way in
            if session is self.session and session.identity is identity:
                await self._end_locked("expired_token", "Token expired")

    def _await_token(self) -> None:
        """Close the socket unless a valid token comes in time."""
        loop = asyncio.get_running_loop()
        self._auth_timer = loop.call_later(conf.BAZIS_WS_AUTH_TIMEOUT, self._auth_timed_out)

    def _auth_timed_out(self) -> None:
        self._auth_timer = None
        self._spawn(
            self.fail("auth_timeout", "No valid token within the time", protocol.CLOSE_AUTH)
        )

    # --- what the channel layer sends -------------------------------------------------------

    async def _deliver(self) -> None:
        """Forward group messages: a loop that only waits."""
        receive, name = self.channel_layer.receive, self.channel_name
        while True:
            event = await receive(name)
            if not self._take(event):
                self._is_dispatching = True
                await self._guard(self.dispatch(event))
                self._is_dispatching = False

    def _take(self, event: dict[str, Any]) -> bool:
        """Deliver an event that needs no waiting; False for others, and while one is waited for,
        so that nothing overtakes.
        """
        # Any project code may have sent it, and what is raised here would hit the layer.
        kind, session = event.get("type"), self.session
        if self._is_dispatching or kind not in ("ws.push", "ws.presence"):
            return False
        try:
            if session is None:
                pass
            elif kind == "ws.push":
                session.deliver(event["group"], event["text"])
            else:
                session.watches.changed(event)
        except Exception:
            logger.exception("A delivery failed (%s)", self._label())
            self._spawn(self._fail_internally())
        return True

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the method for an event of the channel layer, as any consumer does."""
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"{type(self).__name__} has no handler for {message['type']!r}")
        await aclose_old_connections()
        await handler(message)

    async def ws_end(self, event: dict[str, Any]) -> None:
        """The server ends the user's sessions, or those of revoked tokens."""
        async with self._lock:
            if self.session is not None and self.session.is_ended_by(event):
                await self._end_locked(event["code"], event["detail"], protocol.CLOSE_AUTH)

    # --- what goes out ----------------------------------------------------------------------

    def push(self, frame: str | bytes) -> None:
        """Send a frame after those before it, without waiting; silence once closed."""
        if self._outbox is not None and not self._is_closing:
            self._outbox.push(frame)

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
        await self._close(1000 if code is None else code)

    async def fail(self, code: str, detail: str, close: int | None = None) -> None:
        """Send an `error` message, and close the connection where a close code is given."""
        self.push(error_frame(code, detail))
        if close is not None:
            await self._close(close)

    async def _close(self, code: int) -> None:
        if self._outbox is None or self._is_closing:
            return
        self._is_closing = True
        await self._outbox.close(code)

    def _overflowed(self) -> None:
        """The client doesn't read: cut it off."""
        logger.info("A client that doesn't read was cut off: %s", self._label())
        self._spawn(self._close(protocol.CLOSE_TOO_MUCH))

    # --- what the presence agent asks -------------------------------------------------------

    def refresh(self, *, is_settled: bool) -> None:
        """Look again at who is online, for changes may have been missed."""
        if self.session is not None:
            self._spawn(self._guard(self._refresh(is_settled)))

    async def _refresh(self, is_settled: bool) -> None:
        async with self._lock:
            try:
                if self.session is not None:
                    await self.session.watches.refresh(may_be_offline=is_settled)
            except PresenceUnavailable as error:
                Agent.current().note_failure(error)  # which asks again when the store is back

    async def going_down(self) -> None:
        """Close with 4503, for the server stops, and return once the client is gone."""
        await self._close(protocol.CLOSE_GOING_DOWN)
        await asyncio.wait({self._gone}, timeout=1)

    # --- failures ---------------------------------------------------------------------------

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Turn what goes wrong into the protocol's errors; nobody else's connection notices."""
        try:
            await coroutine
        except AuthenticationFailed as error:
            refused = error.code == "too_many_connections"
            close = protocol.CLOSE_TOO_MUCH if refused else None
            await self._end(error.code, error.detail, close)
        except (ChannelLayerUnavailable, PresenceUnavailable, ImproperlyConfigured) as error:
            logger.error("%s (%s)", error, self._label())
            await self._fail_internally()
        except Exception:
            logger.exception("A connection failed (%s)", self._label())
            await self._fail_internally()

    async def _fail_internally(self) -> None:
        await self.fail("internal_error", "Internal server error", protocol.CLOSE_SERVER_FAILURE)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _label(self) -> str:
        """Name the connection in the log: never a token, never a body."""
        session = self.session
        return f"user {session.pk}, session {session.id}" if session else "no session"


def _watched(content: dict[str, Any]) -> list[Any]:
    """Return the primary keys that a `watch` or `unwatch` names, each once."""
    users = content.get("users")
    if not isinstance(users, list):
        raise BadMessage("`users` must be a list of ids.")
    try:
        return list(dict.fromkeys(pk_from_json(user) for user in users))
    except ValueError as error:
        raise BadMessage(f"`users`: {error}") from None
