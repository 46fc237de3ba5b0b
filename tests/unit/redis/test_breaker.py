"""Failing at once for a moment after a failure."""

from bazis_ws_channels.redis.breaker import Breaker


def test_it_is_open_for_a_second(clock):
    """And remembers the failure until something works."""
    breaker = Breaker(clock)
    assert not breaker.is_open
    assert not breaker.has_failed
    breaker.failed()
    assert breaker.is_open
    clock.move(0.99)
    assert breaker.is_open
    clock.move(0.02)
    assert not breaker.is_open
    assert breaker.has_failed
    breaker.failed()
    assert breaker.is_open
    breaker.worked()
    assert not breaker.is_open
    assert not breaker.has_failed
