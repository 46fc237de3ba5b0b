"""Sockets without a session: how many a process, and one address, may have."""

from __future__ import annotations

import ipaddress
from typing import Protocol

from ..conf import conf
from ..loops import LoopLocal
from ..types import Scope

__all__ = ["Guest", "Lobby", "address_of", "current_lobby"]


class Guest(Protocol):
    """A socket that waits for a token."""

    def give_way(self, *, to_address: bool) -> None:
        """Close: there are too many of them, of this address or altogether."""


class Lobby:
    """The sockets of one event loop that wait for a token.

    Where there are too many, the one that has waited longest goes: honest clients bring their
    token at once, and a crowd that never does can't shut them out.
    """

    def __init__(self) -> None:
        self._guests: dict[Guest, str | None] = {}
        self._by_address: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest, address: str | None) -> None:
        """Enter a socket.

        Args:
            address: the client's, as `address_of` returns it; None if it is not known: then only
                the limit of all sockets holds.
        """
        self._guests[guest] = address
        if address is not None:
            same = self._by_address.setdefault(address, {})
            same[guest] = None
            if len(same) > conf.BAZIS_WS_MAX_UNAUTHENTICATED_BY_ADDRESS:
                self._send_away(next(iter(same)), to_address=True)
        if len(self._guests) > conf.BAZIS_WS_MAX_UNAUTHENTICATED:
            self._send_away(next(iter(self._guests)), to_address=False)

    def leave(self, guest: Guest) -> None:
        """Forget a socket; it may be gone already."""
        address = self._guests.pop(guest, None)
        same = None if address is None else self._by_address.get(address)
        if address is not None and same is not None:
            same.pop(guest, None)
            if not same:
                del self._by_address[address]

    def _send_away(self, guest: Guest, *, to_address: bool) -> None:
        self.leave(guest)
        guest.give_way(to_address=to_address)


def address_of(scope: Scope) -> str | None:
    """Return the client's address: that in the header of ``BAZIS_WS_CLIENT_ADDRESS_HEADER``, else
    the connection's own if it is public. None if neither identifies a client (or a household): a
    private address is a proxy's, as a rule. Of IPv6 it is the network of 64 bits.
    """
    header = conf.BAZIS_WS_CLIENT_ADDRESS_HEADER
    if header is not None:
        name = header.lower().encode("latin-1")
        values = [value for key, value in scope["headers"] if key == name]
        if not values:
            return None
        # What the proxy itself has added is last.
        last = values[-1].decode("latin-1").rpartition(",")[2].strip()
        address = _parsed(last)
        return last[:64] if address is None else str(address)
    address = _parsed((scope.get("client") or ("",))[0])  # a unix socket has none
    return str(address) if address is not None and address.is_global else None


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address in the form in which one client always has the same: of IPv6 the network
    of 64 bits, for a client has all of it. None: it is none.
    """
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return address.ipv4_mapped or ipaddress.IPv6Address(int(address) >> 64 << 64)


async def _close(lobby: Lobby) -> None:
    """Nothing to close."""


_lobbies: LoopLocal[Lobby] = LoopLocal(Lobby, _close)


def current_lobby() -> Lobby:
    """Return the running event loop's lobby."""
    return _lobbies.get()
