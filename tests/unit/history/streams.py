"""Streams as a test writes them down."""

from bazis_ws_channels.history.positions import Entry, Position, Tail


def mark(number, history="a"):
    """Return the mark of a message: another one in each history."""
    return f"{history}{number:07d}"


def at(number, history="a"):
    """Return the position of a message."""
    return Position(number, mark(number, history))


def entry(number, history="a", before=None):
    """Return a message, which continues the one before it in its history."""
    before = mark(number - 1, history) if before is None else before
    return Entry(at(number, history), before, b"\xc1%d" % number, 1)


def entries(first, last, history="a"):
    """Return the messages from the first to the last."""
    return [entry(number, history) for number in range(first, last + 1)]


def tail(top, kept=0, history="a"):
    """Return the end of a stream, with the last messages of it."""
    return Tail(at(top, history), entries(top - kept + 1, top, history))
