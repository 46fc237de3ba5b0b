"""Subscriptions in a Cluster, against scripted nodes: where they are, and that they follow."""

import asyncio

import pytest

from bazis_ws_channels.exceptions import ChannelLayerUnavailable
from bazis_ws_channels.redis import link, pubsub, shards
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.connection import connection_to
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.shards import ForwardedSubscriber, ShardedSubscriber, subscriber_to
from bazis_ws_channels.redis.topology import topology_of
from tests.kit.waiting import until

#: Channels of the first node and of the second: slots 866 and 12182.
HERE, THERE = "hello", "foo"


class Layer:
    """Whose subscriptions they are.

    Attributes:
        messages: what was delivered: channel and payload.
        told: "lost" and "back", in order.
    """

    def __init__(self, host):
        self.messages, self.told = [], []
        self.subscriber = subscriber_to(
            host, self.deliver, lambda: self.told.append("lost"), lambda: self.told.append("back")
        )

    async def deliver(self, channel, payloads):
        """Take messages."""
        self.messages += [(channel, each) for each in payloads]

    async def subscribe(self, *channels):
        """Subscribe to all of them."""
        await asyncio.gather(*(self.subscriber.subscribe(each) for each in channels))


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Nobody waits for slots to gather, nor long for another look at the map."""
    monkeypatch.setattr(shards, "_GATHER_SECONDS", 0.001)
    monkeypatch.setattr(shards, "_RETRY_SECONDS", 0.01)


@pytest.fixture
async def layer(world):
    """A layer at a Cluster whose channels are sharded."""
    topology_of(world.host).read(world.map, world.host.node("127.0.0.1", world.first.port))
    layer = Layer(world.host)
    assert isinstance(layer.subscriber, ShardedSubscriber)
    yield layer
    await layer.subscriber.close()


def said(node, verb):
    """Return the channels for which a node got a command."""
    return [each[1] for each in node.commands if each[0] == verb]


def confirmed(channel, *more):
    """Return a confirmation, with what the node says right behind it."""
    return ([b"ssubscribe", channel.encode(), 1], *more)


# --- where a channel is ---------------------------------------------------------------------


async def test_each_channel_is_at_the_node_of_its_slot(world, layer):
    """And nowhere else."""
    await layer.subscribe(HERE, THERE)
    assert said(world.first, "SSUBSCRIBE") == [HERE]
    assert said(world.second, "SSUBSCRIBE") == [THERE]
    assert layer.subscriber.is_confirmed
    assert layer.told == []


async def test_messages_are_handed_out(world, layer):
    """In their order, by channel."""
    payloads = [[b"smessage", THERE.encode(), each] for each in (b"1", b"2")]
    world.second.answer("SSUBSCRIBE", confirmed(THERE, *payloads))
    await layer.subscribe(THERE)
    assert await until(lambda: layer.messages == [(THERE, b"1"), (THERE, b"2")])


async def test_a_channel_is_left_at_its_node(world, layer):
    """What that sends for others still arrives."""
    await layer.subscribe(HERE, THERE)
    layer.subscriber.unsubscribe(THERE)
    await until(lambda: said(world.second, "SUNSUBSCRIBE") == [THERE])
    assert said(world.first, "SUNSUBSCRIBE") == []
    assert layer.told == []
    layer.subscriber.unsubscribe(THERE)  # nothing


async def test_patterns_are_for_no_cluster(world, layer):
    """They need a layer that knows none."""
    layer.subscriber.subscribe_to_pattern("a*")
    await layer.subscribe(HERE)
    assert said(world.first, "PSUBSCRIBE") == []


async def test_what_a_node_says_besides_is_no_message(world, layer):
    """Answers to pings, messages of other kinds."""
    strange = [b"message", HERE.encode(), b"of no shard"]
    message = [b"smessage", HERE.encode(), b"1"]
    world.first.answer("SSUBSCRIBE", confirmed(HERE, strange, [b"pong", b""], message))
    await layer.subscribe(HERE)
    await until(lambda: layer.messages)
    assert layer.messages == [(HERE, b"1")]


# --- following the map ----------------------------------------------------------------------


async def test_a_node_that_refuses_names_another(world, layer):
    """The channel is asked for there; that was no loss, for it was never confirmed."""
    world.second.answer("SSUBSCRIBE", Exception(f"MOVED 12182 127.0.0.1:{world.first.port}"))
    world.tells([0, 16383, world.first])
    await layer.subscribe(THERE)
    assert said(world.first, "SSUBSCRIBE") == [THERE]
    assert layer.told == []


async def test_a_slot_that_leaves_its_node(world, layer):
    """The node gives the channel up by itself: what is published meanwhile is lost."""
    world.tells([0, 16383, world.first])
    world.second.answer("SSUBSCRIBE", confirmed(THERE, [b"sunsubscribe", THERE.encode(), 0]))
    await layer.subscribe(THERE)
    await until(lambda: layer.told == ["lost", "back"])
    assert said(world.first, "SSUBSCRIBE") == [THERE]


async def test_channels_follow_a_map_that_commands_have_changed(world, layer):
    """They leave the old node, whose link is closed when it has none left."""
    await layer.subscribe(HERE, THERE)
    world.tells([0, 16383, world.first])
    world.second.answer("GET", Exception(f"MOVED 12182 127.0.0.1:{world.first.port}"))
    await connection_to(world.host).exchange([Command(("GET", THERE))])
    await until(lambda: layer.told == ["lost", "back"])
    assert said(world.first, "SSUBSCRIBE") == [HERE, THERE]
    assert [node.options["port"] for node in layer.subscriber._listeners] == [world.first.port]


async def test_a_message_of_a_node_that_the_channel_has_left(world, layer):
    """Its new node sends the same."""
    await layer.subscribe(HERE, THERE)
    subscriber = layer.subscriber
    old = subscriber._listener_of(THERE)
    reply = [b"smessage", THERE.encode(), b"twice"]
    assert subscriber.handle(old, reply) == (THERE, b"twice")
    assert subscriber.handle(subscriber._listener_of(HERE), reply) is None
    assert subscriber.handle(subscriber._listener_of(HERE), [b"sunsubscribe", b"foo", 0]) is None
    assert layer.told == []


async def test_a_node_that_is_gone(world, layer):
    """Its channels are at whoever has its slots then; the others stay where they are."""
    await layer.subscribe(HERE, THERE)
    world.tells([0, 16383, world.first])
    world.second.refuse()
    world.second.cut()
    await until(lambda: layer.told == ["lost", "back"])
    assert said(world.first, "SSUBSCRIBE") == [HERE, THERE]


async def test_a_link_that_is_lost(world, layer):
    """The node itself is there: it is asked again."""
    await layer.subscribe(THERE)
    world.second.cut()
    await until(lambda: layer.told == ["lost", "back"])
    assert said(world.second, "SSUBSCRIBE") == [THERE, THERE]


async def test_a_slot_that_nobody_has(world, layer):
    """The map is read until somebody has it."""
    world.tells([0, 8191, world.first])
    topology_of(world.host).read(world.map, world.host.node("127.0.0.1", world.first.port))
    waiting = asyncio.ensure_future(layer.subscribe(HERE, THERE))
    await until(lambda: world.reads() > 2)
    assert not waiting.done()
    world.tells([0, 16383, world.first])
    await waiting
    assert said(world.first, "SSUBSCRIBE") == [HERE, THERE]


@pytest.mark.parametrize("is_known", [True, False])
async def test_nodes_that_are_all_away(world, layer, monkeypatch, is_known):
    """The error says why."""
    if not is_known:
        topology_of(world.host).read([], world.host)
    for module in (link, pubsub):
        monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    for node in (world.first, world.second):
        node.refuse()
        node.cut()
    why = "Connect call failed|no node of cluster"
    with pytest.raises(ChannelLayerUnavailable, match=f"in time. .*({why})"):
        await layer.subscribe(THERE)


async def test_closing_while_the_map_is_sought(world, layer):
    """Whoever waits is told, and nothing is left."""
    world.tells()
    topology_of(world.host).read(world.map, world.host)
    waiting = asyncio.ensure_future(layer.subscribe(HERE))
    await until(lambda: world.reads() > 0)
    layer.subscriber._map_has_changed()
    await layer.subscriber.close()
    with pytest.raises(ChannelLayerUnavailable, match="given up"):
        await waiting
    assert connection_to(world.host).change_listeners == set()
    assert layer.subscriber._listeners == {}


# --- channels that are not sharded ----------------------------------------------------------


@pytest.fixture
async def forwarded(world):
    """A layer at a Cluster of a Redis before 7."""
    host = Host({**world.host.options, "sharded": False})
    topology_of(host).read(world.map, host.node("127.0.0.1", world.first.port))
    layer = Layer(host)
    assert isinstance(layer.subscriber, ForwardedSubscriber)
    yield layer
    await layer.subscriber.close()


def subscribed(world):
    """Return the nodes that were subscribed to."""
    return [node for node in (world.first, world.second) if said(node, "SUBSCRIBE")]


async def test_all_channels_are_at_one_node(world, forwarded):
    """Any of them; the others forward what is published."""
    await forwarded.subscribe(HERE, THERE)
    forwarded.subscriber.subscribe_to_pattern("a*")
    [node] = subscribed(world)
    names = [name for each in node.commands if each[0] == "SUBSCRIBE" for name in each[1:]]
    assert sorted(names) == [THERE, HERE]
    assert said(node, "PSUBSCRIBE") == []


async def test_a_node_that_stays_in_the_cluster_is_pinged(world, forwarded):
    """When the map has changed: it may be silent."""
    await forwarded.subscribe(HERE)
    [node] = subscribed(world)
    forwarded.subscriber._map_has_changed()
    await until(lambda: "PING" in node.names())
    assert forwarded.told == []


async def test_a_node_that_has_left_the_cluster_is_left(world, forwarded):
    """It forwards nothing any more."""
    await forwarded.subscribe(HERE)
    [old] = subscribed(world)
    [new] = [node for node in (world.first, world.second) if node is not old]
    host, topology = forwarded.subscriber._cluster.host, forwarded.subscriber._cluster.topology
    world.tells([0, 16383, new])
    topology.read(world.map, host.node("127.0.0.1", new.port))
    connection_to(host)._tell()
    await until(lambda: forwarded.told == ["lost", "back"])
    assert said(new, "SUBSCRIBE") == [HERE]


async def test_a_single_server_needs_none_of_it(world):
    """It is no Cluster."""
    subscriber = subscriber_to(Host({"address": world.first.url}), print, print, print)
    assert type(subscriber) is pubsub.Subscriber
