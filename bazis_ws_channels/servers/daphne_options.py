"""What makes daphne's handshakes cheaper, and lets others run between them."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from autobahn.twisted import websocket
from autobahn.websocket import protocol

__all__ = ["limit_early_data", "pace_accepts", "spare_dump"]

#: What a client may send before its socket is accepted.
_EARLY_BYTES = 64 * 1024

#: Connections that Twisted accepts before it looks at those that are open.
_ACCEPTS_A_TURN = 10


def pace_accepts(transport: Any) -> None:
    """Let few connections be accepted at a time on the port on which this one came.

    Twisted accepts a hundred at once, then 20 more each time, and all of their handshakes come
    before anybody else's frames. In a storm the others would wait for seconds. Those who wait in
    the backlog don't mind.
    """
    port: Any = getattr(transport, "server", None)
    if getattr(port, "numberAccepts", 0) > _ACCEPTS_A_TURN:
        port.numberAccepts = _ACCEPTS_A_TURN


def limit_early_data(connection: Any) -> None:
    """Cut a client that sends much before its socket is accepted: autobahn would hold all of it."""
    receive = connection.dataReceived

    def received(data: bytes) -> None:
        is_early = connection.state == connection.STATE_CONNECTING
        if is_early and len(connection.data) + len(data) > _EARLY_BYTES:
            connection.transport.abortConnection()
        else:
            receive(data)

    connection.dataReceived = received


def spare_dump(factory: Any) -> None:
    """Let later handshakes format nothing for a log that nobody reads.

    autobahn copies each option from the factory, unless the protocol has it already, and formats
    the list of those that it copied for a debug log, whether that is written or not: a tenth of
    what a handshake costs. So give the factory a class that has them all, and none to copy.
    """
    base = factory.protocol
    names = getattr(base, "CONFIG_ATTRS", ())
    if names and all(hasattr(factory, name) for name in names):
        options = {name: _unbound(getattr(factory, name)) for name in names}
        factory.protocol = type(base.__name__, (base,), {**options, "CONFIG_ATTRS": ()})
        _spare_decoration()


def _spare_decoration() -> None:
    """Let autobahn make no value nice to read for its debug log, which it does for each handshake
    and each read from a socket, whether that is written or not.
    """
    for module in (websocket, protocol):
        for name, plain in _DECORATION.items():
            if hasattr(module, name):
                setattr(module, name, plain)


def _as_it_is(value: Any, *_: Any, **__: Any) -> Any:
    return value


#: autobahn's functions that colour a value or lay it out, and what does without.
_DECORATION: dict[str, Callable[..., Any]] = {
    "hltype": _as_it_is,
    "hlval": _as_it_is,
    "pformat": repr,
}


def _unbound(value: Any) -> Any:
    """Return what a class may hold for its instances: a function of it would become a method."""
    return staticmethod(value) if isinstance(value, FunctionType) else value
