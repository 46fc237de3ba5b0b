"""System checks on Redis Clusters, which scripted nodes answer: each passes and fails.

That they are registered is looked at with the others of `check --deploy`.
"""

import pytest

from tests.kit import channel_layers
from tests.unit.checking import deployed, found, well_set_up  # noqa: F401
from tests.unit.peers import CUT, FakeRedis

pytestmark = pytest.mark.usefixtures("well_set_up")

#: What a server says that is no node.
DISABLED = Exception("ERR This instance has cluster support disabled")
NODE = b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"
#: What COMMAND INFO says of a command that is there, and of one that isn't, by Redis 6 and 7.
KNOWN, UNKNOWN, UNKNOWN_TO_7 = [[b"spublish", 3]], [None], [[]]


@pytest.fixture(autouse=True)
def safe(settings):
    """Let the other checks have nothing to say."""
    settings.BAZIS_WS_REQUIRE_OWN_TOKENS = True


@pytest.fixture
def node(fake_redis):
    """Script a server: ``node(NODE, KNOWN)``; returns its port."""

    def says(info, spublish=KNOWN):
        fake_redis.answer("CLUSTER", *[info] * 3)
        fake_redis.answer("COMMAND", *[spublish] * 3)
        return fake_redis.port

    return says


def use(settings, *hosts, **config):
    """Let the channel layer be at these hosts."""
    settings.CHANNEL_LAYERS = channel_layers(*hosts)
    settings.CHANNEL_LAYERS["default"]["CONFIG"].update(config)


# --- a node that is named as a single server ------------------------------------------------


def test_a_node_named_as_a_single_server(settings, node):
    """Names the setting, and what to write there."""
    use(settings, ("127.0.0.1", node(NODE)))
    message = deployed()["E043"]
    assert "is a node of a Redis Cluster (CHANNEL_LAYERS)" in message.msg
    assert '[{"cluster": [("HOST", PORT), ...]}]' in message.hint


def test_the_setting_of_presence_is_named(settings, node):
    """Where it names the node."""
    settings.BAZIS_WS_REDIS_URL = f"redis://127.0.0.1:{node(NODE)}"
    assert "(BAZIS_WS_REDIS_URL)" in deployed()["E043"].msg


@pytest.mark.parametrize("answer", [DISABLED, CUT])
def test_a_single_server_is_fine(settings, node, answer):
    """One that is away is passed over."""
    use(settings, ("127.0.0.1", node(answer)))
    assert deployed() == {}


def test_only_check_deploy_asks(settings, node, fake_redis):
    """`check` runs with every command of `manage.py`."""
    use(settings, ("127.0.0.1", node(NODE)))
    assert found() == {}
    assert fake_redis.commands == []


def test_hosts_of_another_layer_are_not_ours(settings, node, fake_redis):
    """Nor is a Redis asked where neither the layer nor presence has one."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"hosts": [("127.0.0.1", node(NODE))]},
        }
    }
    assert deployed() == {}
    assert fake_redis.commands == []


# --- a single server that is named as a Cluster ---------------------------------------------


@pytest.mark.parametrize(
    ("info", "spublish", "sharded", "ids"),
    [
        (NODE, KNOWN, True, []),
        (NODE, UNKNOWN, False, []),
        (NODE, UNKNOWN, True, ["E045"]),
        (NODE, UNKNOWN_TO_7, True, ["E045"]),
        (DISABLED, KNOWN, True, ["E044"]),
        (DISABLED, UNKNOWN, True, ["E044"]),
        (CUT, KNOWN, True, []),
        (Exception("NOPERM"), Exception("NOPERM"), True, []),
    ],
)
def test_a_host_named_as_a_cluster(settings, node, info, spublish, sharded, ids):
    """A node is fine, one that is away or doesn't tell passed over; its version must fit."""
    use(settings, {"cluster": [("127.0.0.1", node(info, spublish))], "sharded": sharded})
    assert list(deployed()) == ids


def test_each_node_that_is_named_is_asked(settings, node):
    """The message names the one."""
    with FakeRedis() as other:
        other.answer("CLUSTER", DISABLED)
        other.answer("COMMAND", KNOWN)
        use(settings, {"cluster": [("127.0.0.1", node(NODE)), ("127.0.0.1", other.port)]})
        message = deployed()["E044"]
    assert message.msg == f"127.0.0.1:{other.port} is not a node of a Redis Cluster."
    assert "by a URL" in message.hint


# --- names ----------------------------------------------------------------------------------

CLUSTER, SINGLE = {"cluster": [("127.0.0.1", 1)]}, "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    ("host", "layer_prefix", "key_prefix", "ids"),
    [
        (CLUSTER, "asgi", "user_ws.", []),
        (CLUSTER, "{site}", "user_ws.", ["E046"]),
        (CLUSTER, "asgi", "{site}.", ["E046"]),
        (CLUSTER, "asgi", "site}.", ["E046"]),
        (SINGLE, "{site}", "{site}.", []),
    ],
)
def test_braces_in_prefixes(settings, host, layer_prefix, key_prefix, ids):
    """They would be the hash tag."""
    use(settings, host, prefix=layer_prefix)
    settings.BAZIS_WS_KEY_PREFIX = key_prefix
    assert list(deployed()) == ids
