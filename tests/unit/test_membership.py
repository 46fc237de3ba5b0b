"""Who is in which group, and what waits for whom."""

import asyncio

import pytest

from bazis_ws_channels.membership import Mailbox, Membership
from bazis_ws_channels.parcels import Parcel


@pytest.fixture
def members():
    """Two channels."""
    members = Membership()
    members.open("a")
    members.open("b")
    return members


def test_a_group_goes_with_its_last_member(members):
    """And says so once."""
    members.add("group", "a")
    members.add("group", "b")
    assert set(members.recipients("group")) == {"a", "b"}
    assert members.discard("group", "a") is False
    assert members.discard("group", "b") is True
    assert members.discard("group", "b") is False
    assert members.groups == {}
    assert members.recipients("group") == ("group",)


def test_a_channel_that_closes_leaves_its_groups(members):
    """The groups that are empty then are told; others stay."""
    members.add("own", "a")
    members.add("shared", "a")
    members.add("shared", "b")
    assert members.close("a") == ["own"]
    assert "a" not in members.channels
    assert members.groups == {"shared": {"b"}}
    assert members.close("a") == []


def test_leaving_what_one_never_joined_changes_nothing(members):
    """Neither an unknown group, nor an unknown channel."""
    members.add("group", "a")
    assert members.discard("other", "a") is False
    assert members.discard("group", "b") is False
    assert members.groups == {"group": {"a"}}


async def test_clear_forgets_everything(members):
    """Timers too."""
    members.add("group", "a")
    timer = asyncio.get_running_loop().call_later(60, print)
    members.channels["a"].closing = timer
    members.clear()
    assert timer.cancelled()
    assert (members.channels, members.groups) == ({}, {})


def test_a_mailbox_keeps_what_nobody_takes():
    """In order: where something waits already, the taker isn't asked."""
    taken = []
    mailbox = Mailbox()
    mailbox.deliver(Parcel({"n": 1}, b"1"))
    mailbox.taker = lambda parcel: taken.append(parcel) or True
    mailbox.deliver(Parcel({"n": 2}, b"2"))
    assert (mailbox.get_nowait(), mailbox.get_nowait()) == (b"1", b"2")
    third = Parcel({"n": 3}, b"3")
    mailbox.deliver(third)
    assert taken == [third]
    mailbox.taker = lambda parcel: False
    mailbox.deliver(Parcel({"n": 4}, b"4"))
    assert mailbox.get_nowait() == b"4"


async def test_a_mailbox_stays_open_when_it_is_received_from_again():
    """The timer of a cancelled `receive` is stopped."""
    mailbox = Mailbox()
    mailbox.stay_open()
    mailbox.closing = timer = asyncio.get_running_loop().call_later(60, print)
    mailbox.stay_open()
    assert timer.cancelled()
    assert mailbox.closing is None
