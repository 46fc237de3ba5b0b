"""Django's own sessions, with engines that need no database."""

import time

import pytest
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore

from bazis_ws_channels.auth.django_sessions import DjangoSession, end_sessions_of, living, read


@pytest.fixture
def in_cache(settings):
    """Sessions in the cache of the process."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    session = CacheStore()
    session["a"] = 1
    session.save()
    return session


def test_sessions_that_can_be_looked_up(in_cache):
    """Those that are there, without an expiry that the engine doesn't tell."""
    key = in_cache.session_key
    assert living([key, "another"]) == {key: None}
    in_cache.delete()
    assert living([key]) == {}


def test_nobody_asks_for_nothing(settings):
    """Not even a database that there isn't."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    assert living([]) == {}
    assert living(iter(())) == {}


def test_a_session_is_read(in_cache):
    """Its key, and when it expires."""
    in_cache.set_expiry(600)
    in_cache.save()
    found = read(in_cache)
    assert found.key == in_cache.session_key
    assert found.expires_at == pytest.approx(time.time() + 600, abs=60)


def test_a_session_that_has_ended_since(in_cache):
    """Another request has logged out while this handshake was under way."""
    CacheStore(in_cache.session_key).delete()
    assert read(in_cache) is None


def test_a_session_that_cannot_be_looked_up(settings):
    """It is what its cookie says, and lasts as long."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    session = CookieStore()
    session.set_expiry(300)
    found = read(session)
    assert found.key == ""
    assert found.expires_at == pytest.approx(time.time() + 300, abs=60)


def test_the_key_is_a_secret():
    """It stands in no log."""
    assert "s3cret" not in repr(DjangoSession("s3cret", None))


@pytest.mark.parametrize("engine", ["cache", "file", "signed_cookies"])
def test_engines_that_cannot_find_a_users_sessions(settings, caplog, make_user, engine):
    """They say so, and end nothing."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert end_sessions_of(make_user(1)) is False
    assert engine in caplog.text
