"""System checks of the settings that name Redis."""

import re

import pytest

from bazis_ws_channels import redis_checks
from tests.kit import ROOT
from tests.unit.checking import deployed, found, well_set_up  # noqa: F401

OURS = "bazis_ws_channels.layers.RedisPubSubChannelLayer"

pytestmark = pytest.mark.usefixtures("well_set_up")


def layer(hosts, backend=OURS, **config):
    """Return a CHANNEL_LAYERS setting."""
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": hosts, **config}}}


@pytest.mark.parametrize(
    ("hosts", "word"),
    [
        ("redis://127.0.0.1:1", "list"),
        (["127.0.0.1:6379"], "'127.0.0.1:6379'"),
        (["http://127.0.0.1:6379"], "URL"),
        (["redis://127.0.0.1:port"], "URL"),
        ([("127.0.0.1",)], ""),
        (6379, ""),
        ([{"cluster": [("127.0.0.1", 1)]}, "redis://127.0.0.1:1"], "only host"),
    ],
)
@pytest.mark.parametrize("backend", [OURS, "channels_redis.core.RedisChannelLayer"])
def test_hosts_that_name_no_server(settings, hosts, word, backend):
    """They are told, and no other check stumbles over them."""
    settings.CHANNEL_LAYERS = layer(hosts, backend)
    assert set(found()) - {"W033"} == {"E035"}
    assert word in found()["E035"].msg
    deployed()


@pytest.mark.parametrize(
    "hosts",
    [
        None,
        [],
        ["redis://127.0.0.1:1/3", "rediss://:secret@127.0.0.1", "unix:///run/redis.sock"],
        [("127.0.0.1", 6379)],
        [{"host": "127.0.0.1"}],
        [{"address": "redis://127.0.0.1:1", "ssl_ca_certs": "file"}],
        [{"master_name": "mymaster", "sentinels": [("10.0.0.1", 26379)]}],
        [{"cluster": [("127.0.0.1", 1)]}],
    ],
)
def test_hosts_of_every_form(settings, hosts):
    """All that channels-redis takes, and a Cluster, are fine."""
    settings.CHANNEL_LAYERS = layer(hosts)
    assert found() == {}


def test_hosts_of_another_layer(settings):
    """A layer of somebody else names its servers as it likes, where presence has its own."""
    settings.CHANNEL_LAYERS = layer("127.0.0.1", "channels_redis.core.RedisChannelLayer")
    settings.BAZIS_WS_REDIS_URL = "redis://127.0.0.1:1"
    assert set(found()) == {"W033"}


def test_a_redis_of_presence_that_is_no_url(settings):
    """It is told, and a password that makes it so is not."""
    settings.BAZIS_WS_REDIS_URL = "redis://:se/cret@127.0.0.1"
    assert set(found()) == {"E035"}
    assert "BAZIS_WS_REDIS_URL" in found()["E035"].msg
    settings.BAZIS_WS_REDIS_URL = None
    settings.CHANNEL_LAYERS = layer(["redis://:se/cret@127.0.0.1"])
    assert "'127.0.0.1'" in found()["E035"].msg


@pytest.mark.parametrize(("name", "word"), [("host", "hosts"), ("capacity", "another layer's")])
def test_arguments_that_the_layer_does_not_take(settings, name, word):
    """A typing error, or an argument of another layer, does nothing: it is told."""
    settings.CHANNEL_LAYERS = layer([], **{name: 1})
    assert set(found()) == {"W036"}
    assert repr(name) in found()["W036"].msg
    assert word in found()["W036"].hint


def test_arguments_that_the_layer_takes(settings):
    """Those of docs/settings.md are known."""
    rows = (ROOT / "docs/settings.md").read_text().partition("| argument |")[2].splitlines()
    names = re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows[2:] if row))
    assert set(names) == set(redis_checks._ARGUMENTS)
    settings.CHANNEL_LAYERS = layer([], **dict.fromkeys(set(names) - {"hosts"}))
    assert found() == {}
