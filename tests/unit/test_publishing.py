"""Publishing, counted where presence can be."""

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from bazis_ws_channels import publishing
from bazis_ws_channels.presence.stores import get_store
from bazis_ws_channels.presence.stores.base import Connect, Register, Token


@pytest.fixture
async def alice(make_user):
    """A user with two connections in the store, and a channel in the user's group."""
    store = get_store()
    store.ask(Register("p", 60_000))
    for connection in "ab":
        store.ask(Connect("p", connection, "1", 9, Token(age_us=0)))
    layer = get_channel_layer()
    user = make_user(1)
    user.channel = await layer.new_channel()
    await layer.group_add(user.user_channel, user.channel)
    await layer.group_add("common", user.channel)
    return user


async def received(user):
    """Return the text that came to a user."""
    return (await get_channel_layer().receive(user.channel))["text"]


async def test_publish_counts_connections(alice):
    """Those of all users together."""
    assert await publishing.apublish([alice, 2], {"n": 1}) == 2
    assert await received(alice) == '{"type": "data", "data": {"n": 1}}'


async def test_mixin(alice):
    """The same."""
    assert await alice.ws_apublish(1) == 2
    assert await received(alice) == '{"type": "data", "data": 1}'


async def test_broadcast(alice):
    """To everybody."""
    assert await publishing.abroadcast("hello") is None
    assert await received(alice) == '{"type": "data", "data": "hello"}'


async def test_notify_builds_in_the_users_language(alice):
    """Whatever the language is here."""
    alice.language = "de"
    from django.utils.translation import get_language

    assert await publishing.anotify([alice], lambda user: [user.pk, get_language()]) == 2
    assert await received(alice) == '{"type": "data", "data": [1, "de"]}'


async def test_an_async_caller_may_bring_any_iterable(alice):
    """A generator is read in a thread: it may ask the database."""
    assert await publishing.apublish((user for user in [alice]), 1) == 2
    assert await publishing.apublish({1}, 1) == 2
    assert await publishing.apublish([], 1) == 0


def test_sync_code_publishes_and_counts(make_user):
    """Where presence is in the process, in a question of its own."""
    assert publishing.publish([1], {"n": 1}) == 0
    assert publishing.broadcast(1) is None
    assert publishing.notify([make_user(1)], lambda user: user.pk) == 0
    assert make_user(1).ws_publish(1) == 0


def calls(users):
    """Return each function's call after the commit."""
    later = {"on_commit": True}
    return [
        lambda: publishing.publish(users, 1, **later),
        lambda: publishing.broadcast(1, **later),
        lambda: publishing.notify(users, lambda user: 1, **later),
    ]


def test_after_the_commit(make_user, commits):
    """On the database of the instances, unless told otherwise; nothing is counted."""
    assert [call() for call in calls([make_user(1)])] == [0, None, 0]
    publishing.publish([1], 1, on_commit=True, using="other")
    assert [using for _, using in commits] == ["default", None, "default", "other"]
    commits()


async def test_after_the_commit_of_async_code(alice, commits):
    """In the thread where its ORM runs."""
    assert await publishing.apublish([alice], 1, on_commit=True) == 0
    await publishing.abroadcast(2, on_commit=True)
    assert await publishing.anotify([alice], lambda user: 3, on_commit=True) == 0
    await sync_to_async(commits)()
    assert [await received(alice) for _ in range(3)] == [
        f'{{"type": "data", "data": {n}}}' for n in (1, 2, 3)
    ]


def test_a_failure_after_the_commit_is_logged(make_user, commits, monkeypatch, caplog):
    """The write is done."""

    def fails(messages):
        raise publishing.PublishError("away")

    monkeypatch.setattr(publishing.sending, "send", fails)
    publishing.publish([1, 2], 1, on_commit=True)
    commits()
    assert "Publishing 2 message(s) after the commit failed." in caplog.text


def test_nothing_is_sent_unless_everything_is_built(make_user, commits):
    """An error of `build` is the caller's."""

    def build(user):
        if user.pk == 2:
            raise LookupError("of the project")

    with pytest.raises(LookupError):
        publishing.notify([make_user(1), make_user(2)], build, on_commit=True)
    assert commits == []
