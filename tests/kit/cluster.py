"""A Redis Cluster of three nodes."""

import contextlib

from tests.kit.redis import Redis
from tests.kit.waiting import wait_until

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


class Cluster:
    """Three primaries without replicas: ``with Cluster() as cluster``; `nodes` are `Redis`."""

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self.nodes = [self._stack.enter_context(Redis(**{"cluster-enabled": "yes"})) for _ in SLOTS]
        for node, slots in zip(self.nodes, SLOTS, strict=True):
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", *slots)
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        for node in self.nodes:
            wait_until(lambda node=node: self._is_ok(node))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def _is_ok(self, node):
        info = node.client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"
