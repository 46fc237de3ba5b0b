"""Redis's errors in plain English."""

import pytest
from redis import exceptions as errors

from bazis_ws_channels.redis.errors import explain


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.OutOfMemoryError("OOM"), "out of memory"),
        (errors.ReadOnlyError("READONLY"), "read-only replica"),
        (errors.NoPermissionError("NOPERM"), "forbids a command"),
        (errors.AuthenticationError("WRONGPASS"), "user name or password"),
        (errors.AskError("1 host:1"), "is a Cluster"),
        (errors.MovedError("1 host:1"), "is a Cluster"),
        (errors.ClusterCrossSlotError("CROSSSLOT keys"), "is a Cluster"),
        (errors.ClusterDownError("CLUSTERDOWN"), "does not serve a slot"),
        (errors.TryAgainError("TRYAGAIN"), "does not serve a slot"),
        (errors.MasterDownError("MASTERDOWN"), "lost its primary"),
        (OSError(24, "Too many open files"), "may open no more files"),
        (errors.ResponseError("WRONGTYPE"), "refused a command"),
        (errors.ConnectionError("reset"), "out of reach"),
        (OSError("no route"), "out of reach"),
        (TimeoutError("slow"), "out of reach"),
    ],
    ids=lambda value: f"{value}",
)
def test_each_says_what_to_look_at(error, says):
    """With the error's own words behind it."""
    text = explain(error)
    assert says in text
    assert text.endswith(f"{type(error).__name__}: {error}")
