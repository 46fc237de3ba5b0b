"""Commands on their way to the nodes of a Cluster."""

import itertools

import pytest
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from bazis_ws_channels.redis.commands import Command, Script
from bazis_ws_channels.redis.errand import Errand
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.topology import topology_of
from tests.unit.redis.test_topology import slots

ASKING = Command(("ASKING",))
FOO, HELLO = Command(("GET", "foo"), True), Command(("GET", "hello"), True)  # slots 12182 and 866
PUBLISH = Command(("SPUBLISH", "foo", b"x"))
SCRIPT = Script("return 1").command(["foo"], ["a"])
SINGLE = Host({"address": "redis://127.0.0.1:1"})
_numbers = itertools.count()


@pytest.fixture
def cluster():
    """Another one each time, of two nodes."""
    cluster = Host({"cluster": [("10.0.0.1", 7000)], "client_name": f"test{next(_numbers)}"})
    reply = slots((0, 8191, b"10.0.0.1"), (8192, 16383, b"10.0.0.2"))
    [seed] = topology_of(cluster).to_ask()
    topology_of(cluster).read(reply, seed)
    return cluster


@pytest.fixture
def one(cluster):
    return cluster.node("10.0.0.1", 7000)


@pytest.fixture
def two(cluster):
    return cluster.node("10.0.0.2", 7000)


def lost():
    return RedisConnectionError("reset")


def refused():
    error = RedisConnectionError("Error 111 connecting to 10.0.0.2:7000.")
    error.__cause__ = ConnectionRefusedError()
    return error


def test_each_goes_to_the_node_of_its_slot(cluster, one, two):
    """Those of another host to that; the replies come back in their places."""
    errand = Errand({cluster: [FOO, HELLO, FOO], SINGLE: [FOO]})
    assert errand.asked() == {two: [FOO, FOO], one: [HELLO], SINGLE: [FOO]}
    errand.take({two: [1, 3], one: [2], SINGLE: [4]})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [1, 2, 3], SINGLE: [4]}
    assert not errand.stale
    assert not errand.wait_seconds


def test_errors_are_replies(cluster, two):
    """Nothing is sent again for them."""
    error = ResponseError("WRONGTYPE")
    errand = Errand({cluster: [FOO]})
    errand.asked()
    errand.take({two: [error]})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [error]}


def test_moved(cluster, one, two):
    """It is sent to the other node, once, though it may not be done twice; the map is read."""
    errand = Errand({cluster: [PUBLISH, HELLO]})
    errand.asked()
    errand.take({two: [MovedError("12182 10.0.0.1:7000")], one: [b"1"]})
    assert errand.stale == {topology_of(cluster): None}
    assert errand.asked() == {one: [PUBLISH]}
    errand.take({one: [0]})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [0, b"1"]}
    assert Errand({cluster: [FOO]}).asked() == {one: [FOO]}


def test_ask(cluster, one, two):
    """With ASKING before it, and the text of the script, which that node may not know."""
    errand = Errand({cluster: [SCRIPT]})
    errand.asked()
    errand.take({two: [AskError("12182 10.0.0.1:7000")]})
    whole = Command(("EVAL", "return 1", 1, "foo", "a"))
    assert errand.asked() == {one: [ASKING, whole]}
    errand.take({one: [b"OK", 7]})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [7]}
    assert not errand.stale
    assert Errand({cluster: [FOO]}).asked() == {two: [FOO]}  # the slot is where it was


def test_try_again(cluster, two):
    """Some keys are here, some there: it waits, longer each time, until it is given up."""
    errand, waits = Errand({cluster: [SCRIPT]}), []
    for _ in range(30):
        assert errand.asked() == {two: [SCRIPT]}
        errand.take({two: [TryAgainError("TRYAGAIN")]})
        waits.append(errand.wait_seconds)
    assert waits[:3] == [0.01, 0.02, 0.04]
    assert waits[-1] == 0.2
    errand.give_up()
    assert errand.asked() == {}
    [reply] = errand.replies[cluster]
    assert isinstance(reply, TryAgainError)


def test_nodes_that_send_us_round_in_circles(cluster, one, two):
    """Are not followed for ever; the error says so."""
    errand, turns = Errand({cluster: [FOO]}), 0
    while asked := errand.asked():
        [server], turns = asked, turns + 1
        errand.take({server: [MovedError(f"12182 10.0.0.{1 + (server == one)}:7000")]})
    assert turns < 10
    [error] = errand.replies[cluster]
    assert isinstance(error, ClusterDownError)
    assert "disagree" in str(error)


def test_a_node_that_is_lost(cluster, one, two):
    """What may be sent twice goes to the new primary, if there is one by now; other nodes' replies
    stand.
    """
    errand = Errand({cluster: [FOO, HELLO, PUBLISH]})
    errand.asked()
    error = lost()
    errand.take({two: error, one: [b"1"]})
    assert errand.stale == {topology_of(cluster): two}
    topology_of(cluster).move(MovedError("12182 10.0.0.3:7000"), one)
    three = cluster.node("10.0.0.3", 7000)
    assert errand.asked() == {three: [FOO]}
    errand.take({three: [b"2"]})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [b"2", b"1", error]}


def test_a_node_that_takes_no_connection(cluster, one, two):
    """It has done nothing, so that all goes to its successor."""
    errand = Errand({cluster: [PUBLISH]})
    errand.asked()
    errand.take({two: refused()})
    topology_of(cluster).move(MovedError("12182 10.0.0.1:7000"), one)
    assert errand.asked() == {one: [PUBLISH]}
    errand.take({one: [1]})
    assert errand.replies == {cluster: [1]}


def test_a_node_that_is_lost_and_not_replaced(cluster, two):
    """The error, at once."""
    errand, error = Errand({cluster: [FOO]}), lost()
    errand.asked()
    errand.take({two: error})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [error]}


def test_another_host_that_is_lost(cluster, two):
    """Is one error, as without a Cluster."""
    errand, error = Errand({cluster: [FOO], SINGLE: [FOO, FOO]}), lost()
    errand.asked()
    errand.take({two: [b"1"], SINGLE: error})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [b"1"], SINGLE: error}


def test_a_slot_that_nobody_has(cluster, one, two):
    """Is said as it is."""
    reply = slots((0, 8191, b"10.0.0.1"))
    topology_of(cluster).read(reply, one)
    errand = Errand({cluster: [FOO, HELLO]})
    assert errand.asked() == {one: [HELLO]}
    errand.take({one: [b"1"]})
    error, other = errand.replies[cluster]
    assert isinstance(error, ClusterDownError)
    assert "12182" in str(error)
    assert other == b"1"


def test_a_cluster_that_is_down(cluster, two):
    """The reply stands, and the map is read again."""
    errand, error = Errand({cluster: [FOO]}), ClusterDownError("CLUSTERDOWN Hash slot not served")
    errand.asked()
    errand.take({two: [error]})
    assert errand.asked() == {}
    assert errand.replies == {cluster: [error]}
    assert errand.stale == {topology_of(cluster): None}
