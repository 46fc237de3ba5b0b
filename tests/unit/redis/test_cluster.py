"""The connections to a Cluster, against scripted nodes."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bazis_ws_channels.redis import cluster as module
from bazis_ws_channels.redis.blocking import servers_of
from bazis_ws_channels.redis.commands import Command
from bazis_ws_channels.redis.connection import connection_to, connections_to
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.topology import topology_of
from tests.unit.peers import SILENCE

FOO, HELLO = Command(("GET", "foo"), True), Command(("GET", "hello"), True)  # slots 12182 and 866


@pytest.fixture(params=["async", "sync"])
def kind(request):
    return request.param


async def test_the_map_is_found_though_the_first_seed_is_away(world, kind):
    """And each command goes where it belongs, the replies to their places."""
    world.first.answer("GET", b"1", b"2")
    world.second.answer("GET", b"3")
    assert await world.ask(kind, HELLO, FOO, HELLO) == [b"1", b"3", b"2"]
    assert world.reads() == 1
    await world.ask(kind, FOO)
    assert world.reads() == 1


async def test_openings_are_those_of_all_nodes(world):
    """A command to another one makes another connection."""
    await world.ask("async", FOO)
    cluster = connection_to(world.host)
    before = cluster.openings
    await world.ask("async", FOO, HELLO)
    assert cluster.openings == before == 2
    await cluster.rest()
    await world.ask("async", HELLO)
    assert cluster.openings == 3


async def test_many_calls_read_the_map_once(world):
    """Those of one event loop."""
    await asyncio.gather(*(world.ask("async", FOO) for _ in range(20)))
    assert world.reads() == 1


async def test_an_old_map_is_read_before_it_is_used(world, kind, monkeypatch):
    """As a connection is looked at."""
    await world.ask(kind, FOO)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0)
    await world.ask(kind, FOO)
    assert world.reads() == 2


async def test_moved_is_followed(world, kind):
    """Without another look at a young map."""
    world.second.answer("GET", Exception(f"MOVED 12182 127.0.0.1:{world.first.port}"))
    world.first.answer("GET", b"there")
    assert await world.ask(kind, FOO) == [b"there"]
    assert await world.ask(kind, FOO) == [b"OK"]
    assert world.first.names().count("GET") == 2
    assert world.reads() == 1


async def test_listeners_hear_of_a_change(world):
    """Once each."""
    told = []
    connection = connection_to(world.host)
    await connection.exchange([FOO])
    connection.change_listeners.add(lambda: told.append("changed"))
    await connection.exchange([FOO])
    assert told == []
    world.second.answer("GET", Exception(f"MOVED 12182 127.0.0.1:{world.first.port}"))
    await connection.exchange([FOO])
    assert told == ["changed"]


async def test_a_node_that_is_away(world, kind):
    """Its commands have the error, the others their replies."""
    await world.ask(kind, FOO, HELLO)
    world.second.refuse()
    world.second.cut()
    world.first.answer("GET", b"1")
    first, second = await world.ask(kind, HELLO, FOO)
    assert first == b"1"
    assert isinstance(second, RedisConnectionError)


async def test_a_node_that_is_silent_when_the_map_is_wanted(world, kind):
    """The next is asked."""
    await world.ask(kind, FOO)
    world.host.options["socket_timeout"] = 0.3
    topology_of(world.host).read_at = float("-inf")
    for node in (world.first, world.second):
        node.forget("CLUSTER")
    world.first.answer("CLUSTER", SILENCE)
    world.second.answer("CLUSTER", *[world.map] * 9)
    assert await world.ask(kind, FOO) == [b"OK"]


@pytest.mark.parametrize(
    "reply", [b"strange", Exception("ERR This instance has cluster support disabled")]
)
async def test_nobody_tells_the_map(world, kind, reply):
    """Says whom it has asked, and what the last one said."""
    world.first.forget("CLUSTER")
    world.first.answer("CLUSTER", *[reply] * 9)
    if kind == "sync":
        answer = await world.ask(kind, FOO)
        assert isinstance(answer, RedisConnectionError)
        text = str(answer)
    else:
        with pytest.raises(RedisConnectionError) as caught:
            await world.ask(kind, FOO)
        text = str(caught.value)
    assert f"no node of cluster:127.0.0.1:1,127.0.0.1:{world.first.port} tells the slots" in text
    with pytest.raises(RedisConnectionError):
        await connections_to(world.host)
    with pytest.raises(RedisConnectionError):
        servers_of(world.host)


async def test_a_cluster_without_slots(world):
    """Nobody serves."""
    world.first.forget("CLUSTER")
    world.first.answer("CLUSTER", [], [], [], [])
    with pytest.raises(RedisConnectionError, match="no node"):
        await connections_to(world.host)


async def test_servers(world):
    """The primaries; of another host itself."""
    ports = [world.first.port, world.second.port]
    assert [node.options["port"] for node in servers_of(world.host)] == ports
    assert [each.host.options["port"] for each in await connections_to(world.host)] == ports
    single = Host({"address": world.first.url})
    assert servers_of(single) == [single]
    assert [each.host for each in await connections_to(single)] == [single]
