"""System checks: each passes, fails and is registered."""

import sys
from datetime import timedelta

import pytest
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.apps import apps
from django.core.checks import registry
from django.core.handlers.asgi import ASGIHandler
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import models
from django.test.utils import isolate_apps
from django.urls import path

from bazis_ws_channels import checks
from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.routing import serves_sockets, websocket_urlpatterns
from tests.project.routing import project_urlpatterns
from tests.sessions import callables
from tests.sessions.forging import b64, ec_pair, rsa_pair
from tests.unit.checking import STRONG, found, well_set_up  # noqa: F401

OURS = "bazis_ws_channels.layers.RedisPubSubChannelLayer"

pytestmark = pytest.mark.usefixtures("well_set_up")


def layer(backend):
    """Return a CHANNEL_LAYERS setting."""
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}}


def test_all_is_well():
    """The test project, set up as the README says, has nothing to complain about."""
    assert found() == {}


@pytest.mark.parametrize("check", checks.ALL_CHECKS)
def test_registered(check):
    """Every check is registered under the app's tag."""
    registered = registry.registry.get_checks()
    assert check in registered
    assert "bazis_ws_channels" in check.tags


def test_no_check_is_forgotten():
    """Every function of the module that looks like a check is in `ALL_CHECKS`."""
    functions = {value for name, value in vars(checks).items() if name.startswith("check_")}
    assert functions == set(checks.ALL_CHECKS)


def test_manage_py_check_fails(settings):
    """An error stops `manage.py`."""
    settings.BAZIS_WS_AUTH_TIMEOUT = "10"
    with pytest.raises(SystemCheckError, match="BAZIS_WS_AUTH_TIMEOUT"):
        call_command("check")


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("BAZIS_WS_AUTH_TIMEOUTS", "BAZIS_WS_AUTH_TIMEOUT"),
        ("BAZIS_WS_ALLOWED_ORIGIN", "BAZIS_WS_ALLOWED_ORIGINS"),
        ("BAZIS_WS_MAX_CONNECTION", "BAZIS_WS_MAX_CONNECTIONS"),
        ("BAZIS_JWT_SESSION_ALGORITHM", "BAZIS_JWT_SESSION_ALG"),
        ("BAZIS_WS_JWT_SECRET_KEY", "BAZIS_WS_JWT_KEY"),
    ],
)
def test_unknown_name(settings, wrong, right):
    """A name that doesn't exist is an error, with the nearest that does."""
    setattr(settings, wrong, 1)
    message = found()["E001"]
    assert wrong in message.msg
    assert right in message.hint


# --- types ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BAZIS_WS_AUTH_TIMEOUT", "10"),
        ("BAZIS_WS_AUTH_TIMEOUT", -1),
        ("BAZIS_WS_AUTH_TIMEOUT", 0),
        ("BAZIS_WS_AUTH_TIMEOUT", True),
        ("BAZIS_WS_AUTH_TIMEOUT", float("nan")),
        ("BAZIS_WS_AUTH_TIMEOUT", timedelta(seconds=10)),
        ("BAZIS_WS_MAX_CONNECTIONS", 1.5),
        ("BAZIS_WS_MAX_CONNECTIONS", None),
        ("BAZIS_WS_MAX_CONNECTIONS", 0),
        ("BAZIS_WS_RENEW_SECONDS", 0),
        ("BAZIS_WS_FRAMES_PER_SECOND", 0),
        ("BAZIS_WS_END_ON_LOGOUT", "no"),
        ("BAZIS_WS_END_ON_LOGOUT", 0),
        ("BAZIS_WS_ALLOWED_ORIGINS", "https://example.com"),
        ("BAZIS_WS_ALLOWED_ORIGINS", [1]),
        ("BAZIS_WS_JWT_AUDIENCE", ["a", "b"]),
        ("BAZIS_WS_JWT_SIGNING_KEY", 5),
        ("BAZIS_WS_TOKEN_LIFETIME", "1h"),
        ("BAZIS_WS_KEY_PREFIX", None),
        ("BAZIS_WS_PRESENCE_ON_ERROR", "ignore"),
        ("BAZIS_JWT_SESSION_ALG", 256),
    ],
)
def test_wrong_type(settings, name, value):
    """A setting of the wrong type, or out of range, is an error that names it."""
    setattr(settings, name, value)
    message = found()["E002"]
    assert name in message.msg
    assert (repr(value) in message.msg) is (name not in checks._SECRET)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BAZIS_WS_AUTH_TIMEOUT", 2.5),
        ("BAZIS_WS_JWT_LEEWAY", 0),
        ("BAZIS_WS_MAX_WATCHED", 0),
        ("BAZIS_WS_OFFLINE_GRACE_SECONDS", 0),
        ("BAZIS_WS_END_ON_LOGOUT", False),
        ("BAZIS_WS_ALLOWED_ORIGINS", ["https://example.com"]),
        ("BAZIS_WS_ALLOWED_ORIGINS", ("*",)),
        ("BAZIS_WS_TOKEN_LIFETIME", timedelta(hours=1)),
        ("BAZIS_WS_PRESENCE_ON_ERROR", "raise"),
        ("BAZIS_JWT_SESSION_ALG", ["HS256", "HS512"]),
        ("BAZIS_WS_JWT_SIGNING_KEY", {"first": STRONG}),
    ],
)
def test_right_type(settings, name, value):
    """Values that the settings table allows are no error."""
    setattr(settings, name, value)
    assert found() == {}


def test_renewals_too_rare(settings):
    """A renewal period over half of the lease is an error."""
    settings.BAZIS_WS_LEASE_SECONDS, settings.BAZIS_WS_RENEW_SECONDS = 10, 6
    assert list(found()) == ["E003"]
    settings.BAZIS_WS_RENEW_SECONDS = 5
    assert found() == {}


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "HS265", "PS256", "", [], ["HS256", "RS256"]])
def test_unknown_algorithm(settings, algorithm):
    """An algorithm that isn't known, or a list of two families, is an error."""
    settings.BAZIS_JWT_SESSION_ALG = algorithm
    assert "E010" in found()


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("HS256", rsa_pair()[1]),
        ("HS256", ec_pair()[1]),
        ("HS256", ""),
        ("HS256", {}),
        ("HS256", {"keys": []}),
        ("HS256", {"first": STRONG, "second": ""}),
        ("HS256", {"first": STRONG, "second": rsa_pair()[1]}),
        ("HS256", "tests.sessions.callables.nothing"),
        ("HS256", 5),
        ("RS256", STRONG),
        ("RS256", "-----BEGIN PUBLIC KEY-----\nbm8ga2V5\n-----END PUBLIC KEY-----\n"),
        ("RS256", "/etc/keys/public.pem"),
        ("RS256", ec_pair()[1]),
        ("RS256", None),
        ("RS256", {"kty": "RSA", "n": "AQAB"}),
        ("RS256", {"keys": [{"kty": "oct"}]}),
        ("RS256", {"keys": ["text"]}),
        ("ES256", rsa_pair()[1]),
        ("ES256", {"first": ec_pair()[1], "second": "no key"}),
    ],
)
def test_wrong_key(settings, algorithm, key):
    """A key that can't verify the algorithm is an error."""
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = algorithm, key
    assert "E011" in found()


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("HS256", STRONG),
        ("HS256", STRONG.encode()),
        ("HS256", {"first": STRONG, "second": STRONG[::-1]}),
        ("HS256", {"kty": "oct", "k": b64(STRONG)}),
        ("HS256", "tests.sessions.callables.by_kid"),
        ("HS256", "tests.sessions.callables.CURRENT"),
        ("HS256", callables.broken),
        ("RS256", rsa_pair()[1]),
        ("RS256", {"first": rsa_pair()[1]}),
        ("ES256", ec_pair()[1]),
        (["RS256", "ES256"], {"first": rsa_pair()[1], "second": ec_pair()[1]}),
    ],
)
def test_right_key(settings, algorithm, key):
    """A key that fits passes; a callable can't be asked beforehand."""
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = algorithm, key
    assert found() == {}


@pytest.mark.parametrize("key", ["short", "x" * 50, "abab" * 20])
def test_weak_secret(settings, key):
    """A secret that can be guessed is an error, and a warning while DEBUG is on."""
    settings.SECRET_KEY = key
    assert found()["E012"].is_serious()
    settings.DEBUG = True
    assert not found()["E012"].is_serious()
    settings.SECRET_KEY = STRONG
    assert found() == {}


def test_weak_fallback(settings):
    """A weak fallback signs tokens as well as a weak SECRET_KEY."""
    settings.SECRET_KEY_FALLBACKS = [STRONG, "short"]
    assert "E012" in found()
    settings.SECRET_KEY_FALLBACKS = [STRONG, ""]
    assert "E011" in found()
    settings.SECRET_KEY_FALLBACKS = [STRONG]
    assert found() == {}


def test_weak_secret_does_not_matter_with_public_keys(settings):
    """With RSA tokens a weak SECRET_KEY doesn't matter: it doesn't sign them."""
    settings.SECRET_KEY = "short"
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = "RS256", rsa_pair()[1]
    assert found() == {}


def test_signing_key(settings):
    """A signing key must be able to sign."""
    settings.BAZIS_JWT_SESSION_ALG, settings.BAZIS_WS_JWT_KEY = "RS256", rsa_pair()[1]
    for wrong in (rsa_pair()[1], STRONG, ""):
        settings.BAZIS_WS_JWT_SIGNING_KEY = wrong
        assert list(found()) == ["E013"]
    settings.BAZIS_WS_JWT_SIGNING_KEY = rsa_pair()[0]
    assert found() == {}


SECRET = "very-secret-0123456789-abcdefghijklm"


@pytest.mark.parametrize(
    ("algorithm", "name", "value"),
    [
        ("RS256", "BAZIS_WS_JWT_KEY", SECRET),
        ("ES256", "BAZIS_WS_JWT_KEY", SECRET),
        ("RS256", "BAZIS_WS_JWT_KEY", {"kid": SECRET}),
        ("HS256", "BAZIS_WS_JWT_KEY", {"kty": "RSA", "k": SECRET}),
        ("HS256", "BAZIS_WS_JWT_KEY", SECRET.replace("-", ".")),
        ("HS256", "BAZIS_WS_JWT_KEY", "very.secret.of_dots"),
        ("RS256", "BAZIS_WS_JWT_SIGNING_KEY", SECRET),
        ("HS256", "BAZIS_WS_JWT_SIGNING_KEY", [SECRET]),
        ("HS256", "BAZIS_WS_REDIS_URL", [SECRET]),
        ("HS256", "SECRET_KEY", "short secret"),
    ],
)
def test_secrets_are_not_shown(settings, algorithm, name, value):
    """A wrong key or address is an error whose text holds nothing of it."""
    settings.BAZIS_JWT_SESSION_ALG = algorithm
    setattr(settings, name, value)
    messages = found()
    shown = " ".join(f"{each.msg} {each.hint}" for each in messages.values())
    assert messages or "." in value
    assert "secret-" not in shown
    assert "secret." not in shown
    assert "short secret" not in shown


# --- the user model -------------------------------------------------------------------------


def test_user_model_without_the_mixin(settings):
    """A user model of the project's own is told; Django's can't have the mixin, and needs none."""
    settings.AUTH_USER_MODEL = "auth.Group"
    assert "W020" in found()
    settings.AUTH_USER_MODEL = "auth.User"
    assert "W020" not in found()


@pytest.fixture
def user_model(settings, monkeypatch):
    """Let another model be the user model: ``user_model("Member", number=UUIDField(...))``."""
    with isolate_apps("tests.project"):

        def use(name, **fields):
            meta = type("Meta", (), {"app_label": "project"})
            model = type(name, (models.Model,), {"Meta": meta, "__module__": __name__, **fields})
            monkeypatch.setitem(apps.all_models["project"], name.lower(), model)
            settings.AUTH_USER_MODEL = f"project.{name}"
            return model

        yield use


@pytest.mark.parametrize(
    ("key", "is_told"),
    [
        (models.BigIntegerField, True),
        (models.PositiveBigIntegerField, True),
        (models.BigAutoField, False),
        (models.IntegerField, False),
        (models.UUIDField, False),
    ],
)
def test_ids_that_javascript_rounds(settings, user_model, key, is_told):
    """Large numbers of the project's own making; those that the database counts are no matter."""
    user_model("Member", number=key(primary_key=True))
    assert ("W022" in found()) is is_told
    settings.BAZIS_WS_ID_AS_STRING = True
    assert "W022" not in found()


def test_ids_of_a_child_model(user_model):
    """The key is the parent's."""
    parent = user_model("Parent", number=models.BigIntegerField(primary_key=True))
    user_model("Child", parent=models.OneToOneField(parent, models.CASCADE, primary_key=True))
    assert "W022" in found()


@pytest.mark.parametrize("field", ["nickname", ""])
def test_unknown_user_field(settings, field):
    """A claim's field that the user model lacks is an error."""
    settings.BAZIS_WS_JWT_USER_FIELD = field
    assert list(found()) == ["E021"]


@pytest.mark.parametrize("field", ["pk", "id", "username", None])
def test_known_user_field(settings, field):
    """A field of the user model passes."""
    settings.BAZIS_WS_JWT_USER_FIELD = field
    assert found() == {}


@pytest.mark.parametrize("field", ["email", "first_name", "is_active"])
def test_user_field_that_several_share(settings, field):
    """A field that is not unique is an error."""
    settings.BAZIS_WS_JWT_USER_FIELD = field
    assert list(found()) == ["E023"]


@pytest.mark.parametrize(
    ("claim", "field", "ids"),
    [
        ("user_id", None, ["E022"]),
        ("uid", None, ["E022"]),
        ("user_id", "pk", []),
        ("preferred_username", None, []),
        ("username", None, []),
        ("sub", None, []),
    ],
)
def test_claim_without_a_fitting_field(settings, claim, field, ids):
    """Simple JWT's `user_id` 1 must not open the account that is named "1"."""
    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = claim, field
    assert list(found()) == ids


def test_settings_for_tokens_that_are_refused(settings):
    """Simple JWT's claim has no sense where only tokens of `ws_token` are accepted."""
    settings.BAZIS_WS_JWT_CLAIM, settings.BAZIS_WS_JWT_USER_FIELD = "user_id", "pk"
    assert found() == {}
    settings.BAZIS_WS_REQUIRE_OWN_TOKENS = True
    assert list(found()) == ["W016"]
    settings.BAZIS_WS_JWT_CLAIM = "sub"
    assert found() == {}


# --- the application ------------------------------------------------------------------------


class Inner:
    """A middleware of somebody's."""

    def __init__(self, inner):
        self.inner = inner


OUR_ROUTES = JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))
OTHER_ROUTES = URLRouter([path("ws", AsyncWebsocketConsumer.as_asgi())])
NESTED = URLRouter([path("live/", URLRouter(websocket_urlpatterns))])
APPLICATIONS = {
    "plain": (ASGIHandler(), False),
    "http_only": (ProtocolTypeRouter({"http": ASGIHandler()}), False),
    "other": (ProtocolTypeRouter({"websocket": OTHER_ROUTES}), False),
    "ours": (ProtocolTypeRouter({"websocket": OUR_ROUTES}), True),
    "wrapped": (Inner(ProtocolTypeRouter({"websocket": AuthMiddlewareStack(OUR_ROUTES)})), True),
    "allowed": (ProtocolTypeRouter({"websocket": AllowedHostsOriginValidator(OUR_ROUTES)}), True),
    "nested": (ProtocolTypeRouter({"websocket": Inner(NESTED)}), True),
    "project": (ProtocolTypeRouter({"websocket": URLRouter(project_urlpatterns)}), True),
    "opaque": (ProtocolTypeRouter({"websocket": lambda scope, receive, send: None}), None),
}


@pytest.fixture
def asked(monkeypatch):
    """Somebody has typed ``manage.py check``."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])


@pytest.mark.parametrize("name", APPLICATIONS)
def test_application(settings, monkeypatch, asked, name):
    """An application without a route to the consumer is told, unless it can't be looked into."""
    application, serves = APPLICATIONS[name]
    assert serves_sockets(application) is serves
    monkeypatch.setattr("tests.project.asgi.application", application)
    assert set(found()) == (set() if serves is not False else {"W054"})


@pytest.mark.parametrize(
    ("arguments", "is_looked_at"),
    [
        (["check"], True),
        (["check", "--deploy"], True),
        (["--settings=mysite.settings", "check"], True),
        (["runserver"], True),
        (["migrate"], False),
        (["makemigrations", "--check"], False),
        (["test"], False),
        (["-A", "mysite", "worker"], False),
        ([], False),
    ],
)
def test_when_the_application_is_looked_at(settings, monkeypatch, arguments, is_looked_at):
    """Its module may do anything when it is imported: so not in `migrate`, nor in a worker."""
    settings.ASGI_APPLICATION = "no.such.module.application"
    monkeypatch.setattr(sys, "argv", ["manage.py", *arguments])
    assert ("W053" in found()) is is_looked_at


def test_no_application(settings, asked):
    """None, where runserver needs it; one that can't be imported."""
    settings.ASGI_APPLICATION = "tests.project.asgi.nothing"
    assert set(found()) == {"W053"}
    settings.ASGI_APPLICATION = "no.such.module.application"
    assert set(found()) == {"W053"}
    settings.ASGI_APPLICATION = None
    assert set(found()) == {"W052"}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "daphne"]
    assert set(found()) == {"W050"}


# --- channel layer, presence, daphne --------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "id_"),
    [
        ({}, "E030"),
        ({"other": {"BACKEND": OURS}}, "E030"),
        (layer("channels_redis.pubsub.Nothing"), "E031"),
        (layer("no.such.module.Layer"), "E031"),
        (layer("channels_redis.core.RedisChannelLayer"), "W033"),
        (layer("channels_redis.pubsub.RedisPubSubChannelLayer"), "W034"),
    ],
)
def test_channel_layer(settings, layers, id_):
    """A channel layer that is missing, or that loses messages, is told."""
    settings.CHANNEL_LAYERS = layers
    assert id_ in found()


def test_in_memory_layer(settings):
    """The in-memory layer, and presence in the process, are warnings with DEBUG off."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert set(found()) == {"W032", "W040"}
    settings.DEBUG = True
    assert found() == {}


def test_presence_elsewhere(settings):
    """Presence in a Redis of its own is fine beside an in-memory layer."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.BAZIS_WS_REDIS_URL = "redis://127.0.0.1:1"
    assert set(found()) == {"W032"}


def test_daphne_not_installed_as_an_app(settings):
    """Without daphne in INSTALLED_APPS, runserver serves no sockets."""
    apps = settings.INSTALLED_APPS
    settings.INSTALLED_APPS = [app for app in apps if app != "daphne"]
    assert list(found()) == ["W050"]
    settings.INSTALLED_APPS = ["daphne.apps.DaphneConfig", *settings.INSTALLED_APPS]
    assert found() == {}


@pytest.mark.parametrize(
    ("version", "ids"),
    [
        ("4.1.0", ["E051"]),
        ("4.2.1", ["E051"]),
        ("4.2.2rc1", ["E051"]),
        ("3.0", ["E051"]),
        ("4.2.2", []),
        ("4.3.0rc1", []),
        ("4.10.0", []),
        ("5.0", []),
    ],
)
def test_daphne_version(tmp_path, monkeypatch, version, ids):
    """A daphne with known vulnerabilities is an error."""
    metadata = tmp_path / f"daphne-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: daphne\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(found()) == ids


def test_hints(settings):
    """A message tells what to do."""
    settings.CHANNEL_LAYERS = {}
    assert OURS in found()["E030"].hint
