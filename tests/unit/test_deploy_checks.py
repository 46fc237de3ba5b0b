"""System checks of ``check --deploy``: each passes, fails and is registered."""

import pytest
from django.core.checks import registry

from bazis_ws_channels import deploy_checks
from tests.kit import channel_layers
from tests.sessions.forging import rsa_pair
from tests.unit.checking import STRONG, deployed, found, well_set_up  # noqa: F401
from tests.unit.peers import CUT, SILENCE, FakeRedis

pytestmark = pytest.mark.usefixtures("well_set_up")


@pytest.fixture
def safe(settings):
    """Settings about which `check --deploy` has nothing to say."""
    settings.BAZIS_WS_REQUIRE_OWN_TOKENS = True
    return settings


def test_all_is_well_deployed(safe):
    """The test project's own."""
    assert deployed() == {}


@pytest.mark.parametrize("check", deploy_checks.ALL_CHECKS)
def test_registered_for_deployment(check):
    """Under the app's tag, and not without --deploy."""
    assert check in registry.registry.get_checks(include_deployment_checks=True)
    assert check not in registry.registry.get_checks()
    assert "bazis_ws_channels" in check.tags


def test_no_deployment_check_is_forgotten():
    """Every function of the module that looks like a check is in `ALL_CHECKS`."""
    names = vars(deploy_checks).items()
    functions = {value for name, value in names if name.startswith("check_")}
    assert functions == set(deploy_checks.ALL_CHECKS)


def test_generated_secret(safe):
    """The key that startproject makes is named as what it is, when it is to be deployed: before
    that it is a random key, and `manage.py test`, where DEBUG is off, must start.
    """
    safe.SECRET_KEY = "django-insecure-" + STRONG
    assert found() == {}
    assert set(deployed()) == {"E015"}
    assert "startproject" in deployed()["E015"].msg
    safe.SECRET_KEY, safe.SECRET_KEY_FALLBACKS = STRONG, ["django-insecure-" + STRONG]
    assert set(deployed()) == {"E015"}
    safe.BAZIS_JWT_SESSION_ALG, safe.BAZIS_WS_JWT_KEY = "RS256", rsa_pair()[1]
    assert deployed() == {}


def test_tokens_of_anybody_with_the_secret(safe):
    """Plain tokens of SECRET_KEY are a warning, unless another service issues them."""
    safe.BAZIS_WS_REQUIRE_OWN_TOKENS = False
    assert list(deployed()) == ["W014"]
    safe.BAZIS_WS_JWT_CLAIM, safe.BAZIS_WS_JWT_USER_FIELD = "user_id", "pk"
    assert deployed() == {}


def test_anonymous_sessions(safe):
    """Their limit by address needs a header behind a proxy; the common setting needs the other."""
    safe.BAZIS_WS_ANONYMOUS_COMMON = True
    assert list(deployed()) == ["W017"]
    safe.BAZIS_WS_ANONYMOUS = True
    assert list(deployed()) == ["W018"]
    assert "share 1000" in deployed()["W018"].msg
    safe.BAZIS_WS_CLIENT_ADDRESS_HEADER = "X-Forwarded-For"
    assert deployed() == {}


@pytest.mark.parametrize(
    ("name", "id_"), [("BAZIS_WS_ALLOWED_ORIGINS", "E060"), ("ALLOWED_HOSTS", "E061")]
)
def test_wildcards_with_cookies(safe, name, id_):
    """The test project signs in by Django sessions too; the demo doesn't."""
    setattr(safe, name, ["*"])
    assert list(deployed()) == [id_]
    safe.ASGI_APPLICATION = "tests.sessions.callables.by_sessions"
    assert list(deployed()) == [id_]
    safe.ASGI_APPLICATION = "tests.sessions.callables.without_cookies"
    assert deployed() == {}
    safe.ASGI_APPLICATION = "no.such.application"
    assert deployed() == {}


@pytest.fixture
def memory(safe, fake_redis):
    """Let presence be in a Redis that says this of its memory: ``memory(maxmemory=1, ...)``."""
    safe.BAZIS_WS_REDIS_URL = fake_redis.url

    def says(**lines):
        text = "".join(f"{name}:{value}\r\n" for name, value in lines.items())
        fake_redis.answer("INFO", f"# Memory\r\n{text}".encode())

    return says


@pytest.mark.parametrize(
    ("limit", "policy", "ids"),
    [
        (0, "allkeys-lru", []),
        (100, "allkeys-lru", ["W041"]),
        (100, "volatile-ttl", ["W041"]),
        (100, "noeviction", []),
    ],
)
def test_a_redis_that_evicts(memory, limit, policy, ids):
    """With a limit and a policy that evicts, revocations are lost."""
    memory(maxmemory=limit, maxmemory_policy=policy)
    messages = deployed()
    assert list(messages) == ids
    assert all(policy in each.msg for each in messages.values())


@pytest.mark.parametrize("reply", [SILENCE, CUT, Exception("NOPERM"), None])
def test_a_redis_that_says_nothing_of_its_memory(safe, fake_redis, reply):
    """Hung, dead, or without the right to tell: that is for other checks."""
    safe.BAZIS_WS_REDIS_URL = fake_redis.url
    fake_redis.answer("INFO", *[reply] * 3)
    assert deployed() == {}


def test_each_node_of_a_cluster_is_asked(safe, fake_redis):
    """Of those that the settings name; the worst counts."""
    with FakeRedis() as other:
        for node, policy in ((fake_redis, b"noeviction"), (other, b"allkeys-lru")):
            node.answer("CLUSTER", b"cluster_state:ok")
            node.answer("INFO", b"maxmemory:1\r\nmaxmemory_policy:" + policy)
        nodes = [("127.0.0.1", node.port) for node in (fake_redis, other)]
        safe.CHANNEL_LAYERS = channel_layers({"cluster": nodes})
        assert list(deployed()) == ["W041"]


@pytest.mark.parametrize(
    ("presence", "cache", "ids"),
    [
        ("redis://127.0.0.1:1", "redis://127.0.0.1:1", ["W042"]),
        ("redis://:pw@127.0.0.1:1/0", "redis://127.0.0.1:1", ["W042"]),
        ("redis://127.0.0.1:1/3", ["redis://127.0.0.1:1/3"], ["W042"]),
        ("redis://127.0.0.1:1?db=3", "redis://127.0.0.1:1/3", ["W042"]),
        ("unix:///run/redis.sock", ["unix:///run/redis.sock?db=0"], ["W042"]),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=1", []),
        ("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1", []),
        ("redis://127.0.0.1:1?db=3", "redis://127.0.0.1:1", []),
        ("redis://127.0.0.1:1", "127.0.0.1:1", []),
        ("redis://127.0.0.1:1", "redis://127.0.0.1:PORT/0", []),
        ("redis://127.0.0.1:1", "redis://127.0.0.1:2", []),
    ],
)
def test_presence_in_a_cache(safe, presence, cache, ids):
    """`cache.clear()` empties a whole database."""
    safe.BAZIS_WS_REDIS_URL = presence
    safe.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "fast": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": cache},
    }
    assert list(deployed()) == ids


@pytest.mark.parametrize(
    ("host", "ids"),
    [
        (("127.0.0.1", 1), ["W042"]),
        ({"host": "127.0.0.1", "port": 1, "db": 0}, ["W042"]),
        ({"host": "127.0.0.1", "port": 1, "db": 2}, []),
        ({"host": "127.0.0.1"}, []),
        ({"master_name": "main", "sentinels": [("127.0.0.1", 1)]}, []),
        ({"cluster": [("127.0.0.1", 1)]}, []),
    ],
)
def test_presence_in_a_cache_whose_host_is_named_by_parts(safe, host, ids):
    """As channels-redis takes it; who is behind a sentinel or in a Cluster is not known here."""
    safe.CHANNEL_LAYERS = channel_layers(host)
    safe.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"},
        "fast": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"},
    }
    assert list(deployed()) == ids


def test_presence_in_the_process_is_in_no_cache(safe):
    """Nor does it evict: there is no Redis to ask."""
    safe.DEBUG = True
    safe.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert deployed() == {}
