"""Which node has which slot."""

import pytest
from redis.exceptions import AskError, MovedError

from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.topology import Topology, slot_of, topology_of

CLUSTER = Host({"cluster": [("10.0.0.1", 7000), ("10.0.0.2", "7000")], "password": "x"})
SEED = CLUSTER.node("10.0.0.1", 7000)


def node(name, port=7000):
    return CLUSTER.node(name, port)


def slots(*rows):
    """Return a reply to CLUSTER SLOTS: ``(first, last, primary, *replicas)``, by names."""
    return [[a, b, *([name, 7000, b"id", []] for name in names)] for a, b, *names in rows]


@pytest.fixture
def topology():
    """Two nodes, one with a replica."""
    topology = Topology(CLUSTER)
    reply = slots((0, 8191, b"10.0.0.1", b"10.0.0.3"), (8192, 16383, b"10.0.0.2"))
    topology.read(reply, SEED)
    return topology


def test_slots_as_redis_counts_them():
    """From the specification; only the first hash tag counts, and an empty one doesn't."""
    assert slot_of("123456789") == 0x31C3
    assert slot_of("{user1000}.following") == slot_of("{user1000}.followers") == slot_of("user1000")
    assert slot_of("foo{{bar}}zap") == slot_of("{bar")
    assert slot_of("foo{}{bar}") != slot_of("bar")
    assert slot_of("foo{bar}{zap}") == slot_of("bar")
    assert slot_of("ключ") == slot_of("{ключ}x")


def test_nothing_is_known_at_first():
    """Only the seeds can be asked."""
    topology = Topology(CLUSTER)
    assert not topology.is_known
    assert topology.node_of("a") is None is topology.node_of(None)
    assert topology.nodes == []
    assert topology.to_ask() == [node("10.0.0.1"), node("10.0.0.2")]


def test_a_map(topology):
    """Each slot's primary; a command without a key goes anywhere."""
    assert topology.is_known
    assert topology.node_of("foo") == node("10.0.0.2")  # slot 12182
    assert topology.node_of("hello") == node("10.0.0.1")  # slot 866
    assert topology.primaries == [node("10.0.0.1"), node("10.0.0.2")]
    assert topology.nodes == [*topology.primaries, node("10.0.0.3")]
    assert topology.node_of(None) in topology.primaries


def test_nodes_have_the_options_of_the_cluster(topology):
    """But for those that are the Cluster's own."""
    assert topology.node_of("foo").options == {"host": "10.0.0.2", "port": 7000, "password": "x"}


@pytest.mark.parametrize("name", [None, b"", b"?"])
def test_a_node_that_does_not_tell_its_name(name):
    """It is the one under which it was reached."""
    topology = Topology(CLUSTER)
    [asked, _] = topology.to_ask()
    topology.read([[0, 16383, [name, 7001, b"id"]]], asked)
    assert topology.primaries == [node("10.0.0.1", 7001)]


@pytest.mark.parametrize("reply", [None, b"OK", [[0]], [[0, 5, None]], [b"a"]])
def test_a_strange_reply(topology, reply):
    """Is named, and changes nothing."""
    before = topology.version
    with pytest.raises(ValueError, match="unexpected reply to CLUSTER SLOTS"):
        topology.read(reply, SEED)
    assert topology.version == before
    assert topology.is_known


def test_who_has_failed_is_asked_last(topology):
    """After the seeds."""
    assert set(topology.to_ask()) == {node(f"10.0.0.{n}") for n in (1, 2, 3)}
    for _ in range(10):
        assert topology.to_ask(failed=node("10.0.0.3"))[-1] == node("10.0.0.3")
    assert node("10.9.9.9") not in topology.to_ask(failed=node("10.9.9.9"))


def test_moved(topology):
    """One slot has another node; the version tells of changes alone."""
    before = topology.version
    topology.move(MovedError("12182 10.0.0.1:7000"), node("10.0.0.2"))
    assert topology.node_of("foo") == node("10.0.0.1")
    assert topology.version == before + 1
    topology.move(MovedError("12182 10.0.0.1:7000"), node("10.0.0.2"))
    assert topology.version == before + 1
    topology.move(MovedError("12182 10.0.0.9:7009"), node("10.0.0.2"))
    assert topology.node_of("foo") == node("10.0.0.9", 7009)


def test_a_name_that_is_left_out_is_that_of_the_node_that_says_it(topology):
    """As Redis does where nodes don't know their names."""
    by = topology.node_of("foo")
    assert topology.target(AskError("12182 :7005"), by) == node("10.0.0.2", 7005)


def test_reading_the_same_again_is_no_change(topology):
    """Nobody is told."""
    before = topology.version
    reply = slots((0, 8191, b"10.0.0.1", b"10.0.0.3"), (8192, 16383, b"10.0.0.2"))
    topology.read(reply, SEED)
    assert topology.version == before
    topology.read(slots((0, 16383, b"10.0.0.2")), SEED)
    assert topology.version == before + 1
    assert topology.nodes == [node("10.0.0.2")]


def test_one_map_for_all_of_a_process():
    """Sync and async code share what they find."""
    assert topology_of(Host(CLUSTER.options)) is topology_of(CLUSTER)
