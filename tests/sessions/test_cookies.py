"""Django sessions sign in by our own middleware: many together, when it is their turn."""

import asyncio
import contextlib
import importlib
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.backends import BaseBackend
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session
from django.test import Client as Browser
from django.utils import timezone
from websockets.exceptions import InvalidStatus

from bazis_ws_channels.auth import django_sessions
from bazis_ws_channels.auth.django_sessions import Cookie
from bazis_ws_channels.auth.identity import asession_identity, identify_all
from bazis_ws_channels.auth.tokens import Claims
from bazis_ws_channels.exceptions import AuthenticationFailed
from tests.kit import Client, Daphne, Uvicorn
from tests.project.models import User

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]


def log_in(user):
    """Log a user in to the site; return the cookie's value."""
    browser = Browser()
    browser.force_login(user)
    return browser.cookies["sessionid"].value


def change(key, **data):
    """Change what is in a Django session."""
    session = store(key)
    for name, value in data.items():
        session[name] = value
    session.save()


def store(key=None):
    """Return a Django session of the engine of the settings."""
    from django.conf import settings

    return importlib.import_module(settings.SESSION_ENGINE).SessionStore(key)


def who(*wanted):
    """Return whose each of these is."""
    return [getattr(each, "user", each) for each in identify_all(wanted)]


# --- whose a cookie is ----------------------------------------------------------------------


@pytest.fixture(params=ENGINES)
def engine(request, settings, tmp_path):
    """Each session engine of Django's."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    return request.param


def test_each_engine(engine, settings, alice, bob):
    """The user, and when the session ends; nobody's are None, and spoil no neighbour's."""
    cookies = [Cookie(log_in(alice)), Cookie("nonsense"), Cookie("\x00 '"), Cookie(log_in(bob))]
    first, second, third, fourth = identify_all(cookies)
    assert (first.user, second, third, fourth.user) == (alice, None, None, bob)
    assert first.key == str(alice.pk)
    left = first.django_session.expires_at - time.time()
    assert left == pytest.approx(settings.SESSION_COOKIE_AGE, abs=60)
    assert first.django_session.key == ("" if engine == "signed_cookies" else cookies[0].key)
    assert cookies[0].key not in repr(cookies[0])


def test_cookies_and_tokens_together(make_user, django_assert_num_queries):
    """Sessions are one query, their users another, and those whom tokens name a third."""
    users = [make_user(f"user{n}") for n in range(6)]
    cookies = [Cookie(log_in(user)) for user in users[:3]]
    claims = [Claims(user.username, int(time.time()) + 60, None, None) for user in users[3:]]
    nobody = Claims("nobody", int(time.time()) + 60, None, None)
    mixed = [claims[0], cookies[0], cookies[1], claims[1], cookies[2], claims[2]]
    expected = [users[3], users[0], users[1], users[4], users[2], users[5]]
    with django_assert_num_queries(3):
        assert who(*mixed) == expected
    found = who(cookies[0], nobody, Cookie("x"))
    assert (found[0], found[2]) == (users[0], None)
    assert isinstance(found[1], AuthenticationFailed)
    assert who(cookies[0], cookies[0]) == [users[0], users[0]]


def test_who_is_not_signed_in(alice, settings):
    """A visitor's session, one of another password, of an inactive user, of a backend that is no
    more, of another user model, one that has expired, and one that was ended.
    """
    visitor = store()
    visitor["cart"] = [1]
    visitor.save()
    assert who(Cookie(visitor.session_key)) == [None]
    for data in (
        {HASH_SESSION_KEY: "another"},
        {HASH_SESSION_KEY: ""},
        {BACKEND_SESSION_KEY: "gone.Backend"},
        {SESSION_KEY: "no number"},
        {SESSION_KEY: "987654321"},
    ):
        key = log_in(alice)
        assert who(Cookie(key)) == [alice]
        change(key, **data)
        assert who(Cookie(key)) == [None], data
    key = log_in(alice)
    Session.objects.filter(pk=key).update(expire_date=timezone.now())
    assert who(Cookie(key)) == [None]
    key = log_in(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert who(Cookie(key)) == [None]
    User.objects.filter(pk=alice.pk).update(is_active=True)
    assert who(Cookie(key)) == [alice]
    store(key).delete()
    assert who(Cookie(key)) == [None]


def test_a_former_secret_key(alice, settings):
    """Signs as long as it is among the fallbacks; the session is not changed."""
    key = log_in(alice)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "a new key 0123456789-abcdefghijklmnop"
    settings.SECRET_KEY_FALLBACKS = [former]
    assert who(Cookie(key)) == [alice]
    settings.SECRET_KEY_FALLBACKS = []
    assert who(Cookie(key)) == [None]


async def test_a_log_out_while_it_is_looked_up_counts(alice, monkeypatch):
    """The identity is of the moment before: whoever logs out after that is refused in the end."""
    key, asked = await sync_to_async(log_in)(alice), []
    for name in ("owners", "read"):
        function = getattr(django_sessions, name)

        def noted(*args, function=function):
            asked.append(time.monotonic())
            return function(*args)

        monkeypatch.setattr(django_sessions, name, noted)
    [first] = await sync_to_async(identify_all)([Cookie(key)])
    second = await asession_identity(alice, await sync_to_async(store)(key))
    assert (first.user, second.user) == (alice, alice)
    assert first.since <= asked[0]
    assert second.since <= asked[1]


class OnlyBob(BaseBackend):
    """A backend of a project's own."""

    def get_user(self, user_id):
        """Return nobody but bob."""
        return User.objects.filter(pk=user_id, username="bob").first()


def test_a_backend_of_the_project(alice, bob, settings):
    """Is asked, one user after another."""
    keys = [log_in(alice), log_in(bob)]
    path = f"{__name__}.OnlyBob"
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, path]
    for key in keys:
        change(key, **{BACKEND_SESSION_KEY: path})
    assert who(*map(Cookie, keys)) == [None, bob]


class SessionStore(DatabaseStore):
    """An engine of a project's own, which reads the table and then decides."""

    def load(self):
        """Load nobody's but bob's."""
        data = super().load()
        return data if User.objects.filter(pk=data.get(SESSION_KEY), username="bob") else {}


def test_an_engine_of_the_project(alice, bob, settings):
    """Is asked, too: what it refuses signs nobody in."""
    settings.SESSION_ENGINE = __name__
    assert who(Cookie(log_in(alice)), Cookie(log_in(bob))) == [None, bob]


# --- a real server --------------------------------------------------------------------------


class SessionsDaphne(Daphne):
    """daphne with that application."""

    application = "tests.sessions.by_session:application"


class SessionsUvicorn(Uvicorn):
    """uvicorn with it."""

    application = "tests.sessions.by_session:application"


@pytest.fixture(scope="module", params=[SessionsDaphne, SessionsUvicorn], ids=["daphne", "uvicorn"])
def own(request, servers):
    """A server in which Django sessions sign in."""
    return servers(request.param, BAZIS_WS_REAUTHORIZE_SECONDS=1)


def client(server, key=None, token=None, **headers):
    """Return a client that brings the cookie of a Django session."""
    cookie = {} if key is None else {"Cookie": f"a=b; sessionid={key}; c"}
    return Client(server.ws, token, additional_headers={**cookie, **headers})


async def test_a_session_signs_in_and_ends(own, alice):
    """As behind channels' `AuthMiddlewareStack`; its end is noticed."""
    key = await sync_to_async(log_in)(alice)
    async with client(own, key) as tab:
        message = await tab.subscribed()
        assert message["user"] == alice.pk
        assert message["expires_in"] > 10**6
        assert await alice.ws_apublish("x") == 1
        assert await tab.data() == "x"
        await sync_to_async(store(key).delete)()
        assert await tab.closed() == 4401


async def test_whoever_brings_none_waits_for_a_token(own, alice):
    """Or one that is nobody's."""
    for key in (None, "nonsense"):
        async with client(own, key) as tab:
            assert await tab.settle() == []
            await tab.send({"token": alice.ws_token()})
            assert (await tab.subscribed())["user"] == alice.pk


async def test_a_token_counts_before_the_session(own, alice, bob):
    """A good one and a bad one."""
    key = await sync_to_async(log_in)(alice)
    async with client(own, key, bob.ws_token()) as tab:
        assert (await tab.subscribed())["user"] == bob.pk
    async with client(own, key, "a.b.c") as tab:
        assert (await tab.receive())["code"] == "invalid_token"


async def test_a_page_of_another_site_can_not_use_the_session(own, alice):
    """The cookie comes by itself: the page must be of the very site."""
    key = await sync_to_async(log_in)(alice)
    site = own.ws.replace("ws://", "http://").removesuffix("/ws")
    async with client(own, key, Origin=site) as tab:
        await tab.subscribed()
    for origin in (
        "https://evil.example",
        "http://localhost:3000",
        site.replace("http:", "https:"),
    ):
        with pytest.raises(InvalidStatus, match="403"):
            await client(own, key, Origin=origin).__aenter__()
    async with client(own, key, alice.ws_token(), Origin="http://localhost:3000") as tab:
        await tab.subscribed()


async def test_a_crowd_signs_in_together(own, make_user):
    """All at once, each as who it is."""
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(100)]
    keys = [await sync_to_async(log_in)(user) for user in users]
    async with contextlib.AsyncExitStack() as stack:
        tabs = [client(own, key) for key in keys]
        await asyncio.gather(*map(stack.enter_async_context, tabs))
        messages = await asyncio.gather(*(tab.subscribed() for tab in tabs))
    assert [message["user"] for message in messages] == [user.pk for user in users]
