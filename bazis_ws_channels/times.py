"""Times as the presence store keeps them: whole microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["datetime_of", "microseconds"]


def microseconds(seconds: float) -> int:
    """Return seconds as whole microseconds."""
    return int(seconds * 1_000_000)


def datetime_of(moment: int | None) -> datetime | None:
    """Return an aware datetime of microseconds since the epoch; None for None."""
    if moment is None:
        return None
    seconds, rest = divmod(moment, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
