"""The WebSocket consumer: one connection, signed in or about to be."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable
from typing import Any

from channels.consumer import get_handler_name
from channels.db import aclose_old_connections
from channels.layers import get_channel_layer
from django.views.decorators.debug import sensitive_variables

from . import protocol
from .auth.arrivals import aauthenticate
from .auth.identity import Identity
from .auth.reauthorization import current_reauthorizer
from .connection.endings import Endings
from .connection.following import Following
from .connection.gate import Gate
from .connection.guard import Guard
from .connection.inbox import Inbox
from .connection.intake import Intake
from .connection.limits import Limits, Refusal, cost_of
from .connection.line import Line
from .connection.reach import Reach
from .connection.session import Session
from .connection.tasks import Tasks
from .counters import counts
from .history.positions import since_in, since_of
from .presence.tracker import current_tracker
from .protocol import BadMessage
from .servers.collector import collect_ended
from .types import Event, Receive, Scope, Send

__all__ = ["UserWsConsumer"]

logger = logging.getLogger("bazis_ws_channels")

#: Message types that a method may serve: no leading underscore, nothing but a name.
_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,63}")
#: Hooks of Channels' consumers that are not called here, and what to override instead.
_UNSERVED = {
    "receive": "receive_json, or write a method client_<type>",
    "decode_json": "receive_json, or write a method client_<type>",
    "websocket_connect": "connect or session_started",
    "websocket_receive": "receive_json, or write a method client_<type>",
    "websocket_disconnect": "disconnect",
}


class UserWsConsumer(Endings, Following, Reach):
    """Serve the protocol of this package on one connection.

    To add a message from clients, write a method `client_<type>` (dots become underscores); it
    gets the decoded object and needs a user's session, unless `open_types` or `anonymous_types`
    names the type. It may raise `BadMessage`. To add one from the channel layer, write a method
    of the event's type, as in any consumer. Client messages run one after another, and so do
    events; the two don't wait for each other.

    Unlike channels' consumers, it makes no task and no thread hop for a group message, and it
    cleans up however the connection ends.
    """

    _gate: Gate

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _UNSERVED.keys() & vars(cls).keys():
            raise TypeError(
                f"{cls.__name__}.{name}() would never be called: override {_UNSERVED[name]}."
            )

    @property
    def session(self) -> Session | None:
        """The session, live or about to be; None without one."""
        return self._gate.session

    # --- the connection ---------------------------------------------------------------------

    @sensitive_variables()
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the connection: ASGI's entry."""
        if (await receive())["type"] != "websocket.connect":
            return
        self._set_up(scope, receive, send)
        counts.opened += 1
        counts.connections += 1
        code = 1006
        try:
            # Before the socket is accepted: frames may be right behind the handshake.
            self._intake.open(send, lambda: self._line.is_full)
            await self.connect()
            await self._tasks.guard(self._open())
            code = await self._intake.serve()
        except asyncio.CancelledError:
            if not self._line.has_given_up():
                await self._line.close(protocol.CLOSE_GOING_DOWN)
                raise
        finally:
            self._note_end(code)
            await self._clean_up()
            await self.disconnect(code)
            self._line.finish()

    def _set_up(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.base_send = scope, send
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        self._tasks, self._limits = Tasks(), Limits()
        self._line = Line(send, self._tasks)
        started = None if _is_empty(self.session_started) else self.session_started
        self._gate = Gate(scope, self._tasks, self._line, started, self.session_ended)
        self._tasks.guard = Guard(self.fail, self._gate.end, lambda: self._gate.names)
        self._inbox = Inbox(self.channel_layer, self._tasks, self._gate.deliver, self.dispatch)
        self._gate.inbox = self._inbox
        self._intake = Intake(receive, self._tasks, self._limits, self._receive_frame, self.fail)

    async def connect(self) -> None:
        """Accept the connection, even one that is about to be refused: a browser can't tell a
        refused handshake from a broken network, so the reason is sent as a message.
        """
        offered = self.scope.get("subprotocols") or ()
        await self.accept(protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in offered else None)
        self._line.open()

    async def _open(self) -> None:
        tracker = current_tracker()
        tracker.lines.add(self._line)
        groups = tuple(self.groups or ())
        missed = tracker.messages_missed, current_reauthorizer().look_again
        self.channel_name = await self._inbox.open(groups, *missed)
        pending = self.scope.get("ws_authentication")
        if pending is None:
            return self._gate.await_token()
        # Aside, so that the end of the connection is noticed while it waits for its turn.
        since = since_in(self.scope.get("query_string", b""))
        await self._intake.aside(self._sign_in(pending, since))

    async def _sign_in(self, authentication: Awaitable[Identity | None], since: Any) -> None:
        """Open or renew a session when it is known whose token it is; wait as long as it takes."""
        with self._gate.token_in_hand():
            identity = await self._intake.unless_gone(authentication)
            if identity is None:  # nothing was sent with the handshake
                return self._gate.await_token()
            await self._gate.admit(identity, since)

    def _note_end(self, code: int) -> None:
        """Count the end of the connection, and log it for who looks closely."""
        code = self._line.closed_with or code
        counts.connections -= 1
        counts.note_closed(code)
        if code != protocol.CLOSE_GOING_DOWN:  # that is not for long
            collect_ended()
        names = {**self._gate.names, "close_code": code}
        logger.debug("A connection ended with %d", code, extra=names)

    async def _clean_up(self) -> None:
        current_tracker().lines.discard(self._line)
        self._line.abandon()
        self._intake.close()
        self._inbox.stop()
        await self._tasks.cancel()
        await self._gate.close()
        await self._inbox.close()

    # --- what clients send ------------------------------------------------------------------

    @sensitive_variables()
    async def _receive_frame(self, event: Event) -> None:
        counts.received += 1
        text, data = event.get("text"), event.get("bytes")
        if self._line.is_closing or not await self._may(self._limits.admit(text, data)):
            return
        try:
            if text is None:
                raise BadMessage("Frames must be text.")
            content = protocol.parse(text)
            cost = cost_of(content)
            if not cost or await self._may(self._limits.charge(cost)):
                await self.receive_json(content)
        except BadMessage as error:
            await self.fail(*self._limits.bad_message(str(error)))

    async def _may(self, verdict: Refusal | bool) -> bool:
        """Tell the client of a refusal; return whether there is none."""
        if isinstance(verdict, Refusal):
            await self.fail(*verdict)
            return False
        return verdict

    @sensitive_variables()
    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        """Act on one message of the client.

        Raises:
            BadMessage: it isn't one of the protocol.
        """
        if "token" in content and "type" not in content:
            if not isinstance(content["token"], str):
                raise BadMessage("`token` must be a string.")
            is_known, since = self._gate.is_live, since_of(content.get("since"))
            authentication = aauthenticate(content["token"], is_known=is_known)
            return await self._intake.aside(self._sign_in(authentication, since))
        kind = content.get("type")
        if not isinstance(kind, str):
            raise BadMessage("A message needs a `type`, a string, or a `token`.")
        name = f"client_{kind.replace('.', '_')}"
        handler = getattr(self, name, None) if _TYPE.fullmatch(kind) else None
        if handler is None:
            raise BadMessage(f"Unknown type: {kind[:64]!r}")
        session = self.session
        if (refusal := self.refusal(kind, session)) is not None:
            return await self.fail(*refusal)
        await handler(content)
        await self._gate.tidy(session)

    async def client_ping(self, content: dict[str, Any]) -> None:
        """Answer a ping."""
        self.push(protocol.PONG)

    # --- the session ------------------------------------------------------------------------

    async def session_started(self) -> None:
        """Do what a project wants done at each beginning of a session, not at its renewals.

        For instance, deliver what was saved while the user was away. Nothing waits for it; it is
        cancelled when its session ends. The signal `user_online` is no substitute: who comes back
        within the grace never went offline.

        Groups that the consumer joins during a session are left when it ends, where the channel
        layer can tell which they are (this package's and the in-memory one can).
        """

    async def session_ended(self) -> None:
        """Do what a project wants done at the end of a session, however it ends: once for each
        that has started. `self.session` is the one that has ended.

        The next session of the connection waits for it. What it raises is logged.
        """

    async def dispatch(self, message: Event) -> None:
        """Call the method for an event of the channel layer, as any consumer does."""
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"{type(self).__name__} has no handler for {message['type']!r}")
        await aclose_old_connections()
        session = self.session
        await handler(message)
        await self._gate.tidy(session)


def _is_empty(session_started: Any) -> bool:
    """Tell whether that is this module's own, which does nothing: it is not worth a task."""
    return getattr(session_started, "__func__", None) is UserWsConsumer.session_started
