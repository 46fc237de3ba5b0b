"""Telling changes: pushed, signalled, noted, each once."""

import asyncio
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model

from bazis_ws_channels import signals
from bazis_ws_channels.exceptions import PresenceUnavailable, PublishError
from bazis_ws_channels.presence import announcer as module
from bazis_ws_channels.presence.announcer import Announcer
from bazis_ws_channels.presence.stores.base import Edge
from tests.kit import until

ON = Edge("1", 10, True, 1_000_000, 1_000_000)
OFF = Edge("1", 11, False, 2_000_000, 1_500_000)
OTHER = Edge("2", 12, True, 3_000_000, 3_000_000)


class World:
    """An announcer between a channel layer and a store that fail when the test says so."""

    def __init__(self):
        self.pushed = []
        self.noted = []
        self.push_error = None
        self.note_error = None
        self.news = []
        self.announcer = Announcer(self.confirm)

    async def asend(self, messages):
        """Push."""
        if self.push_error is not None:
            raise self.push_error
        self.pushed += messages

    async def confirm(self, edges):
        """Note."""
        if self.note_error is not None:
            raise self.note_error
        self.noted += edges
        news, self.news = self.news, []
        return news

    async def tell(self, *edges):
        """Tell, and wait until it is done."""
        self.announcer.tell(edges)
        await self.announcer.drain()


@pytest.fixture
def world(monkeypatch):
    """Without receivers."""
    world = World()
    monkeypatch.setattr(module.sending, "asend", world.asend)
    for signal in (signals.user_online, signals.user_offline):
        monkeypatch.setattr(signal, "receivers", [])
        signal.sender_receivers_cache.clear()
    return world


@pytest.fixture
def receive(world):
    """Connect a receiver of both signals."""

    def connect(receiver):
        signals.user_online.connect(receiver, weak=False)
        signals.user_offline.connect(receiver, weak=False)

    return connect


async def test_a_change_is_pushed_to_who_watches_and_noted(world):
    """In that order."""
    await world.tell(ON, OTHER)
    assert world.pushed[0] == (
        "watch_ws.1",
        {
            "type": "ws.presence", "group": "watch_ws.1", "user": "1", "seq": 10,
            "is_online": True, "last_seen": 1_000_000,
        },
    )  # fmt: skip
    assert world.noted == [("1", 10), ("2", 12)]
    assert not world.announcer.has_left_over


async def test_what_is_in_hand_is_told_once(world):
    """However often the store gives it."""
    world.announcer.tell([ON])
    await world.tell(ON)
    assert world.noted == [("1", 10)]
    await world.tell(OFF)
    assert world.noted == [("1", 10), ("1", 11)]


async def test_what_came_meanwhile_is_told_next(world):
    """The store says so when the first is noted."""
    world.news = [OFF]
    await world.tell(ON)
    assert world.noted == [("1", 10), ("1", 11)]


async def test_who_watches_waits_for_no_receiver(world, receive):
    """A receiver that hangs holds up neither the changes behind it nor those that come later."""
    may_go = asyncio.Event()

    async def hangs(**kwargs):
        await may_go.wait()

    receive(hangs)
    many = [Edge(str(number), number, True, 0, 0) for number in range(100, 300)]
    world.announcer.tell([ON, *many])
    await until(lambda: len(world.pushed) == 201)
    world.announcer.tell([OTHER])
    await until(lambda: len(world.pushed) == 202)
    assert world.noted == []
    may_go.set()
    await world.announcer.drain()
    assert len(world.noted) == len(set(world.noted)) == 202


async def test_what_is_pushed_again_is_not_told_before_receivers_have_heard(world, receive):
    """Or nobody would tell them, if the process ended now."""
    may_go = asyncio.Event()

    async def hangs(**kwargs):
        await may_go.wait()

    receive(hangs)
    world.push_error = PublishError("away")
    world.announcer.tell([ON])
    await until(lambda: world.announcer.has_left_over)
    world.push_error = None
    await world.announcer.retry()
    assert (len(world.pushed), world.noted) == (1, [])
    may_go.set()
    await world.announcer.drain()
    assert world.noted == [("1", 10)]
    assert not world.announcer.is_telling


async def test_changes_are_told_in_batches(world, monkeypatch):
    """Noted before receivers hear of the next, so that a crash repeats few."""
    monkeypatch.setattr(module, "_BATCH", 1)
    await world.tell(ON, OTHER)
    assert len(world.pushed) == 2
    assert world.noted == [("1", 10), ("2", 12)]


async def test_what_cannot_be_pushed_is_pushed_again(world, caplog):
    """And noted only then; a newer change takes its place."""
    world.push_error = PublishError("away")
    await world.tell(ON, OTHER)
    assert (world.pushed, world.noted) == ([], [])
    assert world.announcer.has_left_over
    assert "yet to be pushed: away" in caplog.text
    await world.announcer.retry()
    assert world.announcer.has_left_over
    world.push_error = None
    await world.announcer.retry()
    assert [message["seq"] for _, message in world.pushed] == [10, 12]
    assert world.noted == [("1", 10), ("2", 12)]
    assert not world.announcer.has_left_over


async def test_what_cannot_be_noted_is_noted_again(world):
    """It isn't pushed twice."""
    world.note_error = PresenceUnavailable("away")
    await world.tell(ON)
    assert world.announcer.has_left_over
    await world.tell(ON)
    world.note_error = None
    await world.announcer.retry()
    assert len(world.pushed) == 1
    assert world.noted == [("1", 10)]
    await world.announcer.retry()
    assert world.noted == [("1", 10)]


async def test_stopping_finishes_the_batch(world, monkeypatch):
    """The rest stays in the store for another process."""
    monkeypatch.setattr(module, "_BATCH", 1)
    confirm, is_noting, may_note = world.announcer._confirm, asyncio.Event(), asyncio.Event()

    async def slow(edges):
        is_noting.set()
        await may_note.wait()
        return await confirm(edges)

    world.announcer._confirm = slow
    world.announcer.tell([ON, OTHER])
    await is_noting.wait()
    stopping = asyncio.ensure_future(world.announcer.stop())
    await asyncio.sleep(0)
    may_note.set()
    await stopping
    assert world.noted == [("1", 10)]
    await Announcer(world.confirm).stop()


async def test_receivers_get_the_user_and_the_time(world, receive):
    """The instance is loaded at first use; sync and async receivers alike."""
    got = []

    def sync_receiver(sender, user_id, user, at, **kwargs):
        got.append((sender, user_id, at))

    async def async_receiver(sender, user_id, at, signal, **kwargs):
        got.append((sender, user_id, signal is signals.user_offline))

    receive(sync_receiver)
    receive(async_receiver)
    await world.tell(OFF)
    model = get_user_model()
    assert (model, 1, datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)) in got
    assert (model, 1, True) in got
    assert world.noted == [("1", 11)]


async def test_a_receiver_that_fails_stops_nothing(world, receive, caplog):
    """It is logged, and the others are called."""
    got = []

    def fails(**kwargs):
        raise RuntimeError("of the project")

    receive(fails)
    receive(lambda user_id, **kwargs: got.append(user_id))
    await world.tell(ON, OTHER)
    assert sorted(got) == [1, 2]
    assert world.noted == [("1", 10), ("2", 12)]
    assert "of the project" in caplog.text


async def test_a_key_that_is_nobodys_stops_nothing(world, receive, caplog):
    """The primary key's type may have changed since it was written."""
    receive(lambda **kwargs: None)
    await world.tell(Edge("not a number", 1, True, 0, 0), OTHER)
    assert "Telling receivers about user not a number failed" in caplog.text
    assert world.noted == [("not a number", 1), ("2", 12)]
