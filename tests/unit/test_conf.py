"""The settings: read at every use, each with its default."""

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from bazis_ws_channels.conf import Settings, conf


@pytest.mark.parametrize("name", Settings.properties())
def test_each_setting_has_a_default_and_is_read_at_every_use(settings, name):
    """Of its own name, and with a text for the table."""
    if hasattr(django_settings, name):
        delattr(settings, name)
    before = getattr(conf, name)
    marker = object()
    setattr(settings, name, marker)
    assert getattr(conf, name) is marker
    delattr(settings, name)
    assert getattr(conf, name) == before
    assert Settings.properties()[name].__doc__.strip()


@pytest.mark.parametrize("name", Settings.properties())
def test_a_plain_assignment_is_seen_at_once(settings, name):
    """Though Django's signal doesn't tell of it, and a default was read before."""
    if hasattr(django_settings, name):
        delattr(settings, name)
    with override_settings():
        before = getattr(conf, name)
        for value in (object(), None):
            setattr(django_settings, name, value)
            assert getattr(conf, name) is value
        delattr(django_settings, name)
        assert getattr(conf, name) == before


def current():
    """A project's callable."""
    return "east"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("", ""),
        (None, ""),
        ("north", "north"),
        (lambda: "south", "south"),
        (lambda: "", ""),
        (f"{__name__}.current", "east"),
        ("a" * 63, "a" * 63),
    ],
)
def test_namespace(settings, value, name):
    """A name, a callable, or its path."""
    settings.BAZIS_WS_NAMESPACE = value
    assert conf.namespace == name


@pytest.mark.parametrize("value", ["a b", "a|b", "ü", "a" * 64, lambda: "a.b"])
def test_namespace_that_no_key_could_hold(settings, value):
    """The error names the setting."""
    settings.BAZIS_WS_NAMESPACE = value
    with pytest.raises(ImproperlyConfigured, match="BAZIS_WS_NAMESPACE"):
        _ = conf.namespace


@pytest.mark.parametrize("value", ["HS256", ["HS256", "HS512"], ("RS256",)])
def test_algorithms_are_a_list(settings, value):
    """The one form that jose takes safely."""
    settings.BAZIS_JWT_SESSION_ALG = value
    expected = [value] if isinstance(value, str) else list(value)
    assert conf.algorithms == expected
