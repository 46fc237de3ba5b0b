"""Moments in microseconds."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bazis_ws_channels.times import datetime_of, microseconds


def test_whole_microseconds():
    """As the store has them."""
    assert microseconds(1.5) == 1_500_000
    assert microseconds(0) == 0


def test_none_is_none():
    """Who was never there."""
    assert datetime_of(None) is None


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_not_a_microsecond_is_lost(moment):
    """A float would lose some after the year 2255."""
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    us = (whole.days * 86400 + whole.seconds) * 1_000_000 + whole.microseconds
    assert datetime_of(us) == moment
