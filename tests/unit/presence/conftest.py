"""A store in the process by a moved clock, which fails when the test says so."""

import pytest

from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.stores import forget_store
from bazis_ws_channels.presence.stores.memory import MemoryStore


class Store(MemoryStore):
    """The in-process store, watched and in the way.

    Attributes:
        asked: the questions, in order.
        is_away: raise `PresenceUnavailable` for all of them.
        fails: what to raise for a kind of question, each once.
        meanwhile: what to call for a kind of question before it is answered, each once.
    """

    def __init__(self, clock):
        super().__init__(clock)
        self.asked = []
        self.is_away = False
        self.fails = {}
        self.meanwhile = {}

    def ask(self, question):
        """Answer, or fail."""
        self.asked.append(question)
        kind = type(question)
        if kind in self.meanwhile:
            self.meanwhile.pop(kind)()
        if kind in self.fails:
            raise self.fails.pop(kind)
        if self.is_away:
            raise PresenceUnavailable("away")
        return super().ask(question)

    def kinds(self):
        """Return the kinds of questions asked so far, and forget them."""
        kinds, self.asked = [type(question) for question in self.asked], []
        return kinds


@pytest.fixture
def store(clock, monkeypatch):
    """The store that everybody gets."""
    store = Store(clock)
    forget_store()
    for module in ("audit", "lease", "roster", "census", "tracker", "upkeep", "queries"):
        monkeypatch.setattr(f"bazis_ws_channels.presence.{module}.get_store", lambda: store)
    yield store
    forget_store()


class Watcher:
    """Who is told to look again."""

    def __init__(self):
        self.looked = []

    def refresh(self, *, is_settled):
        """Note it."""
        self.looked.append(is_settled)


@pytest.fixture
def watcher():
    """A watcher."""
    return Watcher()
