"""A Redis Cluster of three primaries, with or without replicas."""

import contextlib

import redis as redis_py
from redis.cluster import key_slot

from tests.kit.redis import Redis
from tests.kit.redis_binary import BinaryRedis
from tests.kit.waiting import wait_until

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))
#: Milliseconds after which a silent node counts as failed.
NODE_TIMEOUT = 1000


class Cluster:
    """Three primaries, each with so many replicas: ``with Cluster() as cluster``. `path` is that of
    another server than the embedded one, `tls` the folder of its certificate; `options` are those
    of the layer's entry.

    Attributes:
        nodes: the primaries as `Redis`, in the order of their slots.
        replicas: the replicas; ``replicas[0]`` is one of ``nodes[0]``.
    """

    def __init__(self, replicas=0, *, path=None, tls=None, **options):
        self._stack = contextlib.ExitStack()
        self._path, self._tls = path, tls
        self.options = options
        self.nodes = [self._start() for _ in SLOTS]
        self.replicas = [self._start() for _ in SLOTS * replicas]
        for number, (node, slots) in enumerate(zip(self.nodes, SLOTS, strict=True), 1):
            node.client.execute_command("CLUSTER ADDSLOTS", *range(slots[0], slots[1] + 1))
            node.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number)
        for node in self.all[1:]:
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(lambda: all(self._is_ok(node) for node in self.all))
        for number, replica in enumerate(self.replicas):
            primary = self.id_of(self.nodes[number % len(SLOTS)])
            replica.client.execute_command("CLUSTER REPLICATE", primary)
        wait_until(lambda: all(map(self._follows, self.replicas)))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stack.close()

    @property
    def all(self):
        """Primaries and replicas."""
        return [*self.nodes, *self.replicas]

    @property
    def host(self):
        """The layer's ``hosts`` entry."""
        seeds = [("127.0.0.1", node.port) for node in self.all]
        return {"cluster": seeds, **self.options}

    @property
    def settings(self):
        """Settings of a server process that uses it."""
        backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
        layer = {"BACKEND": backend, "CONFIG": {"hosts": [self.host]}}
        return {"CHANNEL_LAYERS": {"default": layer}}

    def replica_of(self, node):
        """Return the replica of a node, or of the node that has become its replica."""
        pairs = zip(self.nodes, self.replicas, strict=True)
        return next(pair[node is pair[0]] for pair in pairs if node in pair)

    def id_of(self, node):
        """Return the name that the Cluster has for a node."""
        return node.client.execute_command("CLUSTER MYID")

    def owner_of(self, key):
        """Return who has the slot of a key, once all nodes that run agree."""
        slot = key_slot(key.encode())
        return wait_until(lambda: self._agreed(slot))

    def begin_to_move(self, slot, source, target):
        """Announce that a slot moves: source answers ASK from now on for what it has not.

        Not before all nodes have heard of the move before: the new owner of a slot takes an epoch
        over those that it knows, and if that isn't the highest, each calls the other the owner.
        """
        wait_until(self._is_settled)
        target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot, source, target):
        """Move the keys of a slot."""
        while keys := source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            place = ("127.0.0.1", target.port, "", 0, 5000)
            source.client.execute_command("MIGRATE", *place, "KEYS", *keys)

    def end_to_move(self, slot, source, target):
        """Let the slot be the target's: source answers MOVED from now on."""
        for node in (target, source):
            node.client.execute_command("CLUSTER SETSLOT", slot, "NODE", self.id_of(target))

    def move_slot(self, key, target):
        """Move the slot of a key with all its keys, as ``redis-cli --cluster reshard`` does."""
        slot, source = key_slot(key.encode()), self.owner_of(key)
        self.begin_to_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_to_move(slot, source, target)

    def _start(self):
        config = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "repl-diskless-sync-delay": "0",
        }
        if self._path is None:
            return self._stack.enter_context(Redis(**config))
        arguments = [part for name, value in config.items() for part in (f"--{name}", value)]
        arguments += ["--tls-cluster", "yes"] if self._tls else []
        return self._stack.enter_context(_Node(self._path, *arguments, tls=self._tls))

    def _is_ok(self, node):
        info = node.client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.all))

    def _follows(self, replica):
        return replica.client.info("replication").get("master_link_status") == "up"

    def _agreed(self, slot):
        """Return who has a slot if all nodes that run say the same."""
        owners = {self._owner_of(slot, node) for node in self.all} - {None}
        return next((node for node in self.all if {node.port} == owners), None)

    def _is_settled(self):
        """Tell whether all nodes know the same epochs, and no two primaries have the same."""
        first, *others = map(self._epochs_known_to, self.all)
        return all(each == first for each in others) and len({*first.values()}) == len(first)

    def _epochs_known_to(self, node):
        nodes = node.client.execute_command("CLUSTER NODES").values()
        return {each["node_id"]: each["epoch"] for each in nodes if "master" in each["flags"]}

    def _owner_of(self, slot, node):
        """Return the port of a slot's primary as one node says; None if it doesn't run."""
        with contextlib.suppress(redis_py.RedisError, OSError):
            for first, last, (_, port, *_), *_ in node.client.execute_command("CLUSTER SLOTS"):
                if first <= slot <= last:
                    return port
        return None


class _Node(BinaryRedis):
    """A node by its binary, with the client that `Redis` has."""

    def __enter__(self):
        client = self.client()
        self.client = client
        return self

    def __exit__(self, *exc):
        self.client.close()
        super().__exit__(*exc)
