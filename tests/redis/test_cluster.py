"""A Redis Cluster: three real nodes, channels sharded (Redis 7) and forwarded (Redis 6.2)."""

import pytest

from tests.kit.cluster import Cluster
from tests.redis.test_variants import live


@pytest.fixture(scope="module")
def nodes():
    """The servers, which the tests share."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=[True, False], ids=["sharded", "forwarded"])
def cluster(request, nodes):
    """The same, empty, with one kind of pub/sub or the other."""
    for node in nodes.nodes:
        node.client.flushall()
    nodes._options = {"sharded": request.param}
    return nodes


async def test_a_whole_life(cluster, daphne, use, alice, bob):
    """Sign in, watch, publish both ways, log out, leave."""
    await live(daphne, use, cluster.host, (alice, bob))
