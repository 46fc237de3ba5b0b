"""A token bucket, by a moved clock."""

import pytest

from bazis_ws_channels.buckets import TokenBucket


@pytest.fixture
def bucket(clock):
    """Two units a second, five at once."""
    return TokenBucket(2, 5, clock)


def test_so_many_at_once(bucket):
    """And not one more."""
    assert [bucket.take() for _ in range(7)] == [True] * 5 + [False] * 2


def test_so_many_in_the_long_run(bucket, clock):
    """What was refused was not taken."""
    assert bucket.take(5)
    clock.move(0.4)
    assert not bucket.take()
    clock.move(0.1)
    assert bucket.take()
    assert not bucket.take()


def test_it_holds_no_more_than_the_burst(bucket, clock):
    """However long nothing was taken."""
    clock.move(1000)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]


def test_what_costs_more_than_it_can_hold(bucket, clock):
    """It takes all that there is, once it is full: else it would never be allowed."""
    assert bucket.take(100)
    assert not bucket.take(1)
    clock.move(2.4)
    assert not bucket.take(100)
    clock.move(0.1)
    assert bucket.take(100)


def test_parts_of_a_unit(bucket):
    """Costs are no integers."""
    assert [bucket.take(1.25) for _ in range(5)] == [True] * 4 + [False]


def test_it_forgets_no_part_of_a_unit(clock):
    """Who asks often gets as much as who asks rarely."""
    bucket = TokenBucket(1, 1, clock)
    assert bucket.take()
    for _ in range(3):
        clock.move(0.25)
        assert not bucket.take()
    clock.move(0.25)
    assert bucket.take()
