"""Where Redis is."""

import pytest
from channels_redis.pubsub import RedisPubSubLoopLayer
from redis.backoff import NoBackoff
from redis.retry import Retry

from bazis_ws_channels.redis.hosts import Host, hosts_of, presence_host, shard_of

SENTINEL = {"master_name": "main", "sentinels": [("10.0.0.1", 26379), ("10.0.0.2", 26379)]}


def test_equal_options_are_one_host():
    """So that whoever talks to the same server shares a connection."""
    first, second = Host({"host": "a", "port": 1}), Host({"port": 1, "host": "a"})
    assert first == second
    assert hash(first) == hash(second)
    assert first != Host({"host": "a", "port": 2})
    assert first != "a"


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"address": "redis://user:secret@db:6379/0"}, "db:6379/0"),
        ({"address": "redis://:se@cret@db:6379"}, "db:6379"),
        ({"address": "redis://db"}, "db"),
        ({"host": "db", "port": 1, "password": "secret"}, "db:1"),
        ({}, "localhost:6379"),
        (SENTINEL, "sentinel:main"),
    ],
)
def test_labels_show_no_password(options, label):
    """They stand in logs."""
    host = Host(options)
    assert host.label == label
    assert repr(host) == f"<Host {label}>"


def test_time_limits(settings):
    """Its own, else the setting; sentinels cost time before that."""
    settings.BAZIS_WS_REDIS_TIMEOUT = 3
    assert Host({}).timeout_seconds == 3
    assert Host({"socket_timeout": 0.5}).timeout_seconds == 0.5
    assert Host({}).connect_seconds == 3
    assert Host(SENTINEL).connect_seconds == 3 + 2 * 2 * 0.5


def test_options_of_connections(settings):
    """No retries, bytes, RESP 2, keepalive where there is TCP."""
    retry = Retry(NoBackoff(), 0)
    options = Host({"host": "db", "db": 3}).connection_options(retry, timeout=1)
    assert options["retry"] is retry
    assert options["db"] == 3
    assert (options["protocol"], options["decode_responses"]) == (2, False)
    assert options["socket_timeout"] == 1
    assert options["socket_keepalive"] is True
    for unix in ({"address": "unix:///run/redis.sock"}, {"path": "/run/redis.sock"}):
        assert "socket_keepalive" not in Host(unix).connection_options(retry, None)


def test_sentinels_are_asked_quickly():
    """And as the project says."""
    own = {**SENTINEL, "sentinel_kwargs": {"password": "x", "socket_timeout": 9}}
    options = Host(own).connection_options(None, None)["sentinel_kwargs"]
    assert options["socket_connect_timeout"] == 0.5
    assert options["socket_timeout"] == 9
    assert options["password"] == "x"


def test_hosts_of_a_layers_setting():
    """As channels-redis reads them."""
    assert hosts_of(None) == [Host({"host": "localhost", "port": 6379})] or len(hosts_of(None)) == 1
    assert hosts_of(["redis://a", ("b", 2)]) == [
        Host({"address": "redis://a"}), Host({"host": "b", "port": 2}),
    ]  # fmt: skip
    assert hosts_of([SENTINEL])[0].label == "sentinel:main"


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_shards_are_those_of_channels_redis(number):
    """So that a process with the original layer finds them."""
    entries = [f"redis://host{n}" for n in range(number)]
    shards = hosts_of(entries)
    original = RedisPubSubLoopLayer(hosts=entries)
    for n in range(200):
        ours = shards.index(shard_of(f"asgi__group__{n}", shards))
        theirs = original._shards.index(original._get_shard(f"asgi__group__{n}"))
        assert ours == theirs


def test_presence_host(settings):
    """The setting, else the default layer's first host, else the process."""
    assert presence_host() is None
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": ["redis://first", "redis://second"]},
        }
    }
    assert presence_host() == Host({"address": "redis://first"})
    settings.BAZIS_WS_REDIS_URL = "redis://third"
    assert presence_host() == Host({"address": "redis://third"})
    settings.BAZIS_WS_REDIS_URL = None
    settings.CHANNEL_LAYERS = {}
    assert presence_host() is None
