"""Names of groups and presence keys."""

import re

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from bazis_ws_channels import groups

NAMES = [groups.user_group, groups.watch_group]


def test_plain_keys_are_legible():
    """The names of the contract."""
    assert groups.COMMON_CHANNEL == "common"
    assert groups.user_group(7) == "user_ws.7"
    assert groups.key_group("7") == "user_ws.7"
    assert groups.watch_group("7") == "watch_ws.7"
    assert groups.session_key(7) == "user_ws.7.session"
    assert groups.common_group() == "common"


def test_a_namespace_is_in_all_of_them(settings):
    """In a group hashed, for "|" is no character of a group's name."""
    settings.BAZIS_WS_NAMESPACE = "north"
    assert groups.common_group() == "common.north"
    assert groups.common_group("") == "common"
    assert groups.common_group("south") == "common.south"
    assert groups.session_key(7) == "user_ws.north|7.session"
    assert re.fullmatch(r"user_ws\.\.[0-9a-f]{64}", groups.user_group(7))


@given(st.text(max_size=200))
def test_any_key_makes_a_valid_group(key):
    """Whatever a primary key holds."""
    for name in (groups.key_group(key), groups.watch_group(key)):
        assert BaseChannelLayer().require_valid_group_name(name)


@pytest.mark.parametrize("key", ["", ".7", "a b", "ü", "x" * 81, "a/b", "\ud800"])
def test_what_no_group_can_hold_becomes_a_digest(key):
    """Behind a dot, which no plain key begins with."""
    assert re.fullmatch(r"user_ws\.\.[0-9a-f]{64}", groups.key_group(key))


def test_no_two_keys_share_a_group():
    """Not even where one looks like the other's digest."""
    digest = groups.key_group("a b").removeprefix("user_ws.")
    keys = ["a b", digest, "a_b", "a.b", "x" * 80, "x" * 81, "x" * 82]
    assert len({groups.key_group(key) for key in keys}) == len(keys)
