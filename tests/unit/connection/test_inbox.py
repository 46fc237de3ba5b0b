"""Channel-layer events of one connection, in order."""

import asyncio

import pytest
from channels.layers import get_channel_layer

from bazis_ws_channels.connection.inbox import Inbox
from bazis_ws_channels.parcels import Parcel

PUSH = {"type": "ws.push", "group": "g", "text": "1"}
OTHER = {"type": "chat.message"}


class World:
    """An inbox, what it delivered, and what the consumer's methods wait for."""

    def __init__(self, layer, tasks):
        self.events = []
        self.is_busy = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.error = None
        self.missed = []
        self.inbox = Inbox(layer, tasks, self.deliver, self.dispatch)

    def deliver(self, parcel):
        """Take events of the package."""
        if self.error is not None:
            raise self.error
        self.events += parcel.events

    async def dispatch(self, event):
        """Take another, which may wait."""
        self.is_busy.set()
        await self.may_go_on.wait()
        if self.error is not None:
            raise self.error
        self.events.append(event)

    async def has(self, number):
        """Wait for so many events."""
        async with asyncio.timeout(5):
            while len(self.events) < number:
                await asyncio.sleep(0)
        return self.events


@pytest.fixture
async def world(tasks):
    """An inbox on channels' in-memory layer."""
    return World(get_channel_layer(), tasks)


async def test_events_come_by_channel_and_by_group(world):
    """Until it is closed."""
    layer = get_channel_layer()
    channel = await world.inbox.open(("team",), print)
    assert world.inbox.channel == channel
    await layer.send(channel, PUSH)
    await layer.group_send("team", OTHER)
    assert await world.has(2) == [PUSH, OTHER]
    await world.inbox.close()
    assert "team" not in layer.groups or channel not in layer.groups["team"]


async def test_nothing_overtakes_a_method_that_waits(world):
    """Pushes queue behind it."""
    layer = get_channel_layer()
    channel = await world.inbox.open((), print)
    world.may_go_on.clear()
    await layer.send(channel, OTHER)
    await world.is_busy.wait()
    assert world.inbox.take(Parcel(PUSH)) is False
    await layer.send(channel, PUSH)
    world.may_go_on.set()
    assert await world.has(2) == [OTHER, PUSH]
    assert world.inbox.take(Parcel(PUSH)) is True


async def test_a_delivery_that_fails_ends_its_own_connection(world, told, caplog):
    """The layer, and so all others, don't notice."""
    await world.inbox.open((), print)
    world.error = RuntimeError("a bug")
    assert world.inbox.take(Parcel(PUSH)) is True
    async with asyncio.timeout(5):
        while not told.calls:
            await asyncio.sleep(0)
    assert told.calls == [("fail", "internal_error", 4500)]
    assert "A delivery failed (user 1, session x)" in caplog.text


async def test_a_method_that_fails_is_guarded_and_the_next_is_called(world, told):
    """In the same loop."""
    layer = get_channel_layer()
    channel = await world.inbox.open((), print)
    world.error = RuntimeError("a bug")
    await layer.send(channel, OTHER)
    async with asyncio.timeout(5):
        while not told.calls:
            await asyncio.sleep(0)
    world.error = None
    await layer.send(channel, PUSH)
    assert await world.has(1) == [PUSH]


class DirectLayer:
    """What our own layer has besides."""

    def __init__(self):
        self.reconnect_listeners = set()
        self.taker = None
        self.discarded = []
        self.groups = []
        self.waiting = []
        self.receivers = 0

    async def new_channel(self):
        """Name a channel."""
        return "own"

    async def group_add(self, group, channel):
        """Join."""
        self.groups.append(group)

    async def group_discard(self, group, channel):
        """Leave."""
        self.groups.remove(group)

    def receive_directly(self, channel, taker):
        """Offer."""
        self.taker = taker

    async def receive(self, channel):
        """Return what the taker did not take, and then wait."""
        self.receivers += 1
        if not self.waiting:
            await asyncio.Event().wait()
        return self.waiting.pop(0)

    def discard_channel(self, channel):
        """Forget."""
        self.discarded.append(channel)


async def test_our_layer_hands_over_without_a_turn_of_the_loop(tasks):
    """And tells when messages may have been missed; it forgets the channel at the end."""
    layer = DirectLayer()
    world = World(layer, tasks)
    await world.inbox.open(("team",), print)
    assert layer.taker(Parcel(PUSH)) is True
    assert layer.taker(Parcel(OTHER)) is False
    assert world.events == [PUSH]
    assert layer.reconnect_listeners == {print}
    await world.inbox.close()
    assert layer.discarded == ["own"]
    assert layer.groups == []


async def test_only_an_event_that_must_wait_is_waited_for(tasks):
    """A connection that gets none has no task for it; all that comes afterwards has its turn."""
    layer = DirectLayer()
    world = World(layer, tasks)
    await world.inbox.open((), print)
    assert layer.taker(Parcel(PUSH)) is True
    await asyncio.sleep(0)
    assert layer.receivers == 0
    for event in (OTHER, OTHER):
        layer.waiting.append(event)
        assert layer.taker(Parcel(event)) is False
    assert await world.has(3) == [PUSH, OTHER, OTHER]
    await asyncio.sleep(0)
    assert layer.receivers == 3
    assert layer.taker(Parcel(PUSH)) is True


async def test_an_inbox_that_never_opened_closes(tasks):
    """A connection may break before it."""
    layer = DirectLayer()
    await World(layer, tasks).inbox.close()
    assert layer.discarded == []
