"""Who is online is what the test says."""

import pytest

from bazis_ws_channels import presence
from bazis_ws_channels.testing import WsClient, online


def test_online(alice, bob):
    """These users, and nobody else."""
    with online(alice):
        assert alice.is_online
        assert alice.last_seen is not None
        assert not bob.is_online
        assert presence.online([alice, bob]) == {alice.pk}
        assert presence.online_users() == {alice.pk}
        assert presence.online_count() == 1
        with online(bob.pk):
            assert presence.online_users() == {bob.pk}
        with online():
            assert presence.online_count() == 0
        assert presence.online_users() == {alice.pk}
    assert presence.online_users() == set()


def test_publishing_counts_them(ws_outbox, alice, bob):
    """One connection each."""
    with online(alice, bob):
        assert alice.ws_publish("hi") == 1
    assert alice.ws_publish("hi") == 0
    ws_outbox.assert_published(alice, count=2)


async def test_async(alice, bob):
    """Also for async code, and a client that connects is online besides."""
    with online(alice):
        assert await presence.aonline([alice, bob]) == {alice.pk}
        async with WsClient(user=bob):
            assert await presence.aonline_users() == {alice.pk, bob.pk}


def test_fixture(ws_online, alice, bob):
    """Each call says it anew; before the first nobody is online."""
    assert presence.online_users() == set()
    ws_online(alice)
    assert presence.online_users() == {alice.pk}
    ws_online(bob)
    assert presence.online_users() == {bob.pk}


def test_whoever_is_no_user(django_user_model):
    """Is told so."""
    with pytest.raises(ValueError, match="save it first"), online(django_user_model()):
        pass
