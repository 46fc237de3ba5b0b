"""Which messages of clients are served, and for whom."""

from __future__ import annotations

from typing import ClassVar

from .session import Session

__all__ = ["Reach"]


class Reach:
    """Part of a consumer: a message needs a user's session, unless its type is listed here."""

    #: Types served without a session.
    open_types: ClassVar[frozenset[str]] = frozenset({"ping"})
    #: Further types that anonymous sessions may send.
    anonymous_types: ClassVar[frozenset[str]] = frozenset()

    def refusal(self, kind: str, session: Session | None) -> tuple[str, str] | None:
        """Return the error code and its detail for a type that is not served; None if it is."""
        if kind in self.open_types:
            return None
        if session is None or not session.is_live:
            return "not_authenticated", "Send a token first."
        if session.is_anonymous and kind not in self.anonymous_types:
            return "forbidden", "An anonymous session may not send this: sign in."
        return None
