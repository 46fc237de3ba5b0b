"""Endings that could not be written: kept, and tried again at a measured pace."""

import pytest

from bazis_ws_channels.auth import unwritten as module
from bazis_ws_channels.auth.unwritten import Unwritten, look_again
from bazis_ws_channels.exceptions import PresenceUnavailable, PublishError
from bazis_ws_channels.presence.stores.base import RevokeBefore, RevokeToken

FIRST, SECOND = RevokeBefore("1", 1_000, 60), RevokeToken("abc", 60)


class Redis:
    """The store and the layer, which are away when the test says so."""

    def __init__(self):
        self.written, self.sent = [], []
        self.is_away = self.is_mute = False

    def ask(self, revocation):
        """Write it."""
        if self.is_away:
            raise PresenceUnavailable("away")
        self.written.append(revocation)

    def send(self, messages):
        """Send them."""
        if self.is_mute:
            raise PublishError("away")
        self.sent += messages


@pytest.fixture
def redis(monkeypatch):
    """What it writes to."""
    redis = Redis()
    monkeypatch.setattr(module, "get_store", lambda: redis)
    monkeypatch.setattr(module.sending, "send", redis.send)
    return redis


@pytest.fixture
def kept(clock, redis):
    """Two endings, one of which has a group."""
    kept = Unwritten(clock)
    kept.keep(FIRST, "user_ws.1")
    kept.keep(SECOND, None)
    return kept


def test_they_are_written_and_told(kept, clock, redis, caplog):
    """A second later, once."""
    kept.write()
    assert (len(kept), redis.written) == (2, [])
    clock.move(1)
    kept.write(sender=None, signal=None)  # as a signal calls it
    assert redis.written == [FIRST, SECOND]
    assert redis.sent == [look_again("user_ws.1")]
    assert "2 ending(s) that could not be written before are written now" in caplog.text
    assert not kept
    clock.move(100)
    kept.write()
    assert len(redis.written) == 2


def test_the_message_that_is_sent():
    """The group's sessions look again."""
    event = {"type": "ws.reauthorize", "group": "user_ws.1"}
    assert look_again("user_ws.1") == ("user_ws.1", event)


def test_an_ending_that_is_kept_twice_is_written_once(kept, clock, redis):
    """The newest group counts."""
    kept.keep(SECOND, "user_ws.2")
    clock.move(1)
    kept.write()
    assert redis.written == [FIRST, SECOND]
    assert redis.sent == [look_again("user_ws.1"), look_again("user_ws.2")]


def test_the_pauses_grow_up_to_fifteen_seconds(kept, clock, redis):
    """And are short again afterwards."""
    redis.is_away = True
    for seconds in (1, 2, 4, 8, 15, 15):
        asked = []
        redis.ask = lambda revocation, asked=asked: asked.append(revocation) or _away()
        clock.move(seconds - 0.1)
        kept.write()
        assert asked == []
        clock.move(0.2)
        kept.write()
        assert asked == [FIRST]
        clock.move(-0.1)
    del redis.ask
    redis.is_away = False
    clock.move(15.1)
    kept.write()
    assert redis.written == [FIRST, SECOND]
    kept.keep(FIRST, None)
    clock.move(1)
    kept.write()
    assert redis.written == [FIRST, SECOND, FIRST]


def _away():
    raise PresenceUnavailable("away")


def test_what_is_written_and_not_told_is_tried_again(kept, clock, redis):
    """Revoking again does no harm; those behind wait."""
    redis.is_mute = True
    clock.move(1)
    kept.write()
    assert (len(kept), redis.written) == (2, [FIRST])
    redis.is_mute = False
    clock.move(2)
    kept.write()
    assert redis.written == [FIRST, FIRST, SECOND]
    assert not kept


def test_nothing_is_raised(kept, clock, redis, caplog):
    """It is called after requests."""
    redis.ask = lambda revocation: 1 / 0
    clock.move(1)
    kept.write()
    assert "failed again" in caplog.text
    assert len(kept) == 2
    del redis.ask
    kept.write()
    assert redis.written == [FIRST, SECOND]


def test_what_it_sends_itself_does_not_call_it_again(kept, clock, redis):
    """Sending is one of the occasions to write."""
    redis.send = lambda messages: kept.write()
    module.sending.send = redis.send
    clock.move(1)
    kept.write()
    assert redis.written == [FIRST, SECOND]


def test_only_so_many_are_kept(kept, monkeypatch, caplog):
    """One more is dropped, and that is said."""
    monkeypatch.setattr(module, "_MOST", 2)
    kept.keep(RevokeToken("another", 60), None)
    assert len(kept) == 2
    assert "one is dropped" in caplog.text
