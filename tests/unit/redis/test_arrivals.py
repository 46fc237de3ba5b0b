"""What has come from a server, until it is handed out."""

import asyncio

import pytest

from bazis_ws_channels import loops
from bazis_ws_channels.redis import arrivals as module
from bazis_ws_channels.redis.arrivals import Arrivals
from tests.kit.waiting import until


class World:
    """Arrivals, and who gets them when the test says so."""

    def __init__(self):
        self.delivered, self.failures, self.error = [], [], None
        self.may_deliver = asyncio.Event()
        self.may_deliver.set()
        self.arrivals = Arrivals(self.deliver, self.failed)

    async def deliver(self, channel, payloads):
        """Take messages."""
        await self.may_deliver.wait()
        self.delivered.append((channel, b"".join(payloads)))
        if self.error is not None:
            raise self.error

    def failed(self, channel):
        """Note that a delivery failed."""
        self.failures.append(channel)

    async def has(self, *deliveries):
        """Wait for deliveries."""
        await until(lambda: len(self.delivered) >= len(deliveries))
        assert self.delivered == list(deliveries)


@pytest.fixture
async def world():
    """Nothing has come."""
    return World()


async def test_what_follows_one_another_on_a_channel_is_one_delivery(world):
    """And what came while another one took its time; the order stays."""
    for channel, payload in (("a", b"1"), ("a", b"2"), ("b", b"3"), ("a", b"4")):
        await world.arrivals.add(channel, payload)
    assert world.delivered == []  # not in the turn of the one who reads
    await world.has(("a", b"12"), ("b", b"3"), ("a", b"4"))
    world.delivered.clear()
    world.may_deliver.clear()
    await world.arrivals.add("a", b"5")
    await asyncio.sleep(0)
    for payload in (b"6", b"7"):
        await world.arrivals.add("a", payload)
    world.may_deliver.set()
    await world.has(("a", b"5"), ("a", b"67"))


async def test_nobody_works_while_there_is_nothing(world):
    """No task waits for messages; the next one starts it."""
    for payload in (b"1", b"2"):
        await world.arrivals.add("a", payload)
        await until(lambda: world.arrivals._task.done())
    assert world.delivered == [("a", b"1"), ("a", b"2")]


@pytest.mark.parametrize("limit", ["_MOST_MESSAGES", "_MOST_BYTES"])
async def test_the_rest_waits_at_redis(world, monkeypatch, limit):
    """Where much is waiting, reading waits too, until there is room: others may add meanwhile."""
    monkeypatch.setattr(module, limit, 2)
    world.may_deliver.clear()
    await world.arrivals.add("a", b"1")
    await asyncio.sleep(0)  # it is being handed out
    await world.arrivals.add("a", b"2")
    adding = asyncio.ensure_future(world.arrivals.add("a", b"3"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not adding.done()
    world.may_deliver.set()
    await adding
    await world.has(("a", b"1"), ("a", b"23"))
    assert (world.arrivals._bytes, len(world.arrivals._waiting)) == (0, 0)


async def test_a_delivery_that_fails_stops_no_other(world, caplog):
    """It is logged, and told."""
    world.error = RuntimeError("a bug")
    await world.arrivals.add("a", b"1")
    await world.arrivals.add("b", b"2")
    await world.has(("a", b"1"), ("b", b"2"))
    await until(lambda: world.failures == ["a", "b"])
    assert [record.exc_info[1] for record in caplog.records] == [world.error] * 2


async def test_others_have_their_turn(world, monkeypatch):
    """Between deliveries that together take long."""
    monkeypatch.setattr(loops, "_TURN_SECONDS", 0)
    turns = []
    for channel in "abc":
        await world.arrivals.add(channel, b"1")
    while len(world.delivered) < 3:
        await asyncio.sleep(0)
        turns.append(len(world.delivered))
    assert turns == [1, 2, 3]


async def test_stopping_drops_what_waits(world):
    """And ends what is being done."""
    world.may_deliver.clear()
    await world.arrivals.add("a", b"1")
    await world.arrivals.add("b", b"2")
    await asyncio.sleep(0)
    await world.arrivals.stop()
    world.may_deliver.set()
    assert world.delivered == []
    await world.arrivals.add("c", b"3")
    await world.has(("c", b"3"))


async def test_stopping_before_the_first_delivery_has_begun(world):
    """In the turn in which a message came: the next ones are handed out all the same."""
    await world.arrivals.add("a", b"1")
    await world.arrivals.stop()
    await world.arrivals.add("b", b"2")
    await world.has(("b", b"2"))
