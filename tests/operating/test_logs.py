"""Log records name the user, the session and the close code, and hold no secret."""

import logging

import pytest

from bazis_ws_channels.testing import WsClient


@pytest.fixture(autouse=True)
def application():
    """Import the application, which sets logging up once more, before a test does."""
    from tests.project import asgi

    return asgi.application


async def test_records_name_user_and_session(alice, caplog):
    """What goes wrong on a connection, and its end."""
    caplog.set_level(logging.DEBUG, "bazis_ws_channels")
    token = alice.ws_token()
    async with WsClient(token=token, path="/project/") as client:
        await client.send({"type": "fail", "password": "a secret of the client"})
        assert await client.wait_closed() == 4500
    failed, ended = (each for each in caplog.records if each.name == "bazis_ws_channels")
    assert "A connection failed" in failed.message
    assert failed.user == ended.user == alice.pk
    assert failed.session == ended.session
    assert failed.session in failed.message
    assert (ended.levelno, ended.close_code) == (logging.DEBUG, 4500)
    assert token not in caplog.text
    assert "secret" not in caplog.text


async def test_without_a_session(transactional_db, caplog):
    """Then there is nobody to name."""
    caplog.set_level(logging.DEBUG, "bazis_ws_channels")
    async with WsClient():
        pass
    [ended] = [each for each in caplog.records if each.name == "bazis_ws_channels"]
    assert ended.close_code == 1000
    assert not hasattr(ended, "user")
