"""Who is online, as a test says."""

import pytest

from bazis_ws_channels import presence
from bazis_ws_channels.testing import online


def test_these_and_nobody_else(make_user):
    """Instances or keys; nobody is afterwards."""
    with online(make_user(1), 3):
        assert presence.online([1, 2, 3]) == {1, 3}
        assert presence.online_users() == {1, 3}
        assert presence.count([1, 2, 3]) == 2
        assert make_user(1).is_online
        assert not make_user(2).is_online
    assert presence.online_users() == set()


def test_one_within_another():
    """The inner one counts, then the outer one again."""
    with online(1):
        with online(2):
            assert presence.online_users() == {2}
        with online():
            assert presence.online_users() == set()
        assert presence.online_users() == {1}


def test_what_is_no_user():
    """It is refused as everywhere, and nothing is left behind."""
    with pytest.raises(TypeError), online(object()):
        pass
    assert presence.online_users() == set()
