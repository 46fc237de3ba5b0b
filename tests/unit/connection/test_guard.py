"""What goes wrong on one connection, as errors of the protocol."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured

from bazis_ws_channels.exceptions import (
    AuthenticationFailed,
    ChannelLayerUnavailable,
    PresenceUnavailable,
    SessionRefused,
    TokenError,
)


async def fail(error):
    """Fail."""
    raise error


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TokenError("expired_token", "x"), ("end", "expired_token", None)),
        (AuthenticationFailed("user_not_found", "x"), ("end", "user_not_found", None)),
        (SessionRefused("invalid_token", "x"), ("end", "invalid_token", None)),
        (SessionRefused("too_many_connections", "x"), ("end", "too_many_connections", 4429)),
        (ChannelLayerUnavailable("away"), ("fail", "internal_error", 4500)),
        (PresenceUnavailable("away"), ("fail", "internal_error", 4500)),
        (ImproperlyConfigured("no key"), ("fail", "internal_error", 4500)),
        (RuntimeError("a bug"), ("fail", "internal_error", 4500)),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_has_its_code(tasks, told, error, call, caplog):
    """What is not the client's is logged, with the connection; a bug with its traceback."""
    await tasks.guard(fail(error))
    assert told.calls == [call]
    if call[0] == "fail":
        [record] = caplog.records
        assert "user 1, session x" in record.getMessage()
        assert bool(record.exc_info) is isinstance(error, RuntimeError)
    else:
        assert not caplog.records


@pytest.mark.parametrize("debug", [False, True])
async def test_why_a_token_is_refused(tasks, told, settings, caplog, debug):
    """It is logged; the client hears it where DEBUG is on."""
    settings.DEBUG = debug
    caplog.set_level("INFO")
    await tasks.guard(fail(TokenError("invalid_token", "Invalid token", "its exp is no time")))
    assert told.details == ["Invalid token: its exp is no time" if debug else "Invalid token"]
    [record] = caplog.records
    assert record.getMessage() == "A token was refused: its exp is no time (user 1, session x)"


async def test_all_is_well(tasks, told):
    """Nothing is told."""
    await tasks.guard(asyncio.sleep(0))
    assert told.calls == []


async def test_a_cancellation_passes(tasks, told):
    """It is nobody's failure."""
    with pytest.raises(asyncio.CancelledError):
        await tasks.guard(fail(asyncio.CancelledError()))
    assert told.calls == []
