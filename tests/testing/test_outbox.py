"""What the test kit captures, and what it says when an assertion fails."""

import threading
from datetime import UTC, datetime
from unittest.mock import ANY

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import transaction

from bazis_ws_channels import presence
from bazis_ws_channels.publishing import (
    abroadcast,
    broadcast,
    notify,
    publish,
    publish_anonymous,
)
from bazis_ws_channels.testing import (
    Published,
    assert_broadcast,
    assert_not_published,
    assert_published,
    assert_published_anonymous,
    capture,
    isolate,
)
from tests.kit import Redis

NOBODY = "redis://127.0.0.1:1"


@pytest.fixture
def without_redis(settings):
    """A project whose Redis is not there: every call to it would fail."""
    layers = {"default": {**settings.CHANNEL_LAYERS["default"], "CONFIG": {"hosts": [NOBODY]}}}
    settings.CHANNEL_LAYERS = layers


def test_messages_are_captured_in_order(ws_outbox, without_redis, alice, bob):
    """To whom, and what after a JSON round trip; nobody is connected."""
    assert alice.ws_publish({"at": datetime(2026, 1, 2, tzinfo=UTC), "pair": (1, 2)}) == 0
    publish([alice.pk, bob], "to both")
    broadcast([1])
    assert ws_outbox == [
        Published(alice.pk, {"at": "2026-01-02T00:00:00Z", "pair": [1, 2]}),
        Published(alice.pk, "to both"),
        Published(bob.pk, "to both"),
        Published(None, [1]),
    ]


def test_anonymous_sessions_are_told_apart(ws_outbox, without_redis, alice):
    """From users and from everybody; by the token, which nothing shows."""
    token, other = "visitor-0123456789", "visitor-9876543210"
    publish_anonymous(token, {"step": 1, "of": 2})
    publish_anonymous(token, {"step": 2, "of": 2}, idempotency_key="2")
    publish_anonymous(token, {"step": 2, "of": 2}, idempotency_key="2")
    assert_published_anonymous(token, {"step": 1})
    ws_outbox.assert_published_anonymous(token, count=2)
    ws_outbox.assert_published_anonymous(other, count=0)
    with pytest.raises(AssertionError) as caught:
        assert_broadcast()
    assert "1. to an anonymous session: " in str(caught.value)
    with pytest.raises(AssertionError) as caught:
        assert_published_anonymous(other)
    assert "to be published to the anonymous session 1 time(s), got 0" in str(caught.value)
    assert "visitor" not in str(caught.value)
    with pytest.raises(AssertionError, match="to anybody"):
        assert_not_published()
    assert_not_published(alice)
    for wrong in ("short", "a.jwt.looks-like-this"):
        with pytest.raises(ValueError, match="16 to 128"):
            assert_published_anonymous(wrong)


def test_anonymous_sessions_after_the_commit(ws_outbox, without_redis, transactional_db):
    """As with users."""
    with transaction.atomic():
        publish_anonymous("visitor-0123456789", 1, on_commit=True)
        assert ws_outbox == []
    ws_outbox.assert_published_anonymous("visitor-0123456789", 1)


async def test_async_code_is_captured(ws_outbox, without_redis, alice):
    """The async twins are."""
    await alice.ws_apublish({"number": 1})
    await abroadcast({"number": 2})
    assert [each.user for each in ws_outbox] == [alice.pk, None]


def test_other_threads_are_captured(ws_outbox, without_redis, alice):
    """A thread that the code under test starts doesn't escape."""
    thread = threading.Thread(target=alice.ws_publish, args=["from a thread"])
    thread.start()
    thread.join()
    ws_outbox.assert_published(alice, "from a thread")


def test_endings_and_presence_stay_in_the_process(ws_outbox, without_redis, alice):
    """A new password ends sessions, and that asks no Redis either; it is no message."""
    alice.set_password("new")
    alice.save()
    assert alice.ws_disconnect() == 0
    assert not alice.is_online
    assert ws_outbox == []


def test_notify_is_captured_for_each(ws_outbox, without_redis, alice, bob):
    """What was built for each."""
    notify([alice, bob], lambda user: {"hello": user.username})
    ws_outbox.assert_published(alice, {"hello": "alice"})
    ws_outbox.assert_published(bob, {"hello": "bob"})


def test_on_commit(ws_outbox, without_redis, alice):
    """It appears when the transaction commits, and never if it doesn't."""
    with transaction.atomic():
        alice.ws_publish("committed", on_commit=True)
        assert ws_outbox == []
    with transaction.atomic():
        alice.ws_publish("rolled back", on_commit=True)
        transaction.set_rollback(True)
    assert [each.data for each in ws_outbox] == ["committed"]


@pytest.mark.django_db
def test_a_forgotten_commit_is_told(ws_outbox, without_redis, django_user_model):
    """Whoever finds nothing published, in a test that never commits, learns how to run it."""
    user = django_user_model.objects.create_user("eve")
    with pytest.raises(AssertionError) as nothing:
        ws_outbox.assert_published(user)
    assert "commit" not in str(nothing.value)
    user.ws_publish("on commit", on_commit=True)
    with pytest.raises(AssertionError, match=r"1 callback.*captureOnCommitCallbacks"):
        ws_outbox.assert_published(user)
    user.ws_publish("at once")
    with pytest.raises(AssertionError) as something:
        ws_outbox.assert_published(user, "on commit")
    assert "callback" not in str(something.value)


@pytest.mark.django_db
def test_on_commit_in_a_test_that_never_commits(
    ws_outbox, without_redis, django_user_model, django_capture_on_commit_callbacks
):
    """As with Django's own captureOnCommitCallbacks."""
    user = django_user_model.objects.create_user("dora")
    with django_capture_on_commit_callbacks(execute=True):
        user.ws_publish("on commit", on_commit=True)
        assert ws_outbox == []
    ws_outbox.assert_published(user, "on commit")


def test_nested(without_redis, alice):
    """The outer one collects too; functions ask the innermost."""
    with capture() as outer:
        broadcast("before")
        with capture() as inner:
            broadcast("within")
            assert_broadcast("within")
            with pytest.raises(AssertionError):
                assert_broadcast("before")
        broadcast("after")
        assert_broadcast("before")
    assert [each.data for each in outer] == ["before", "within", "after"]
    assert [each.data for each in inner] == ["within"]


def test_afterwards_everything_is_as_before(settings, alice):
    """The project's own layer and store are back, also after a change of the settings."""
    before = get_channel_layer()
    with capture():
        assert isinstance(get_channel_layer(), InMemoryChannelLayer)
    assert get_channel_layer() is before
    with Redis() as redis:
        with capture() as outbox:
            settings.CHANNEL_LAYERS = redis.channel_layers
            broadcast("nowhere")
            assert presence.online_count() == 0
        assert len(outbox) == 1
        assert redis.client.info("stats")["total_commands_processed"] < 20
        assert redis.client.keys() == []
        assert get_channel_layer().hosts[0].label in redis.url


def test_without_a_capture():
    """The functions say what is missing."""
    for function in (lambda: assert_published(1), assert_broadcast, assert_not_published):
        with pytest.raises(RuntimeError, match="ws_outbox"):
            function()


class TestAssertions:
    @pytest.fixture(autouse=True)
    def published(self, ws_outbox, without_redis, alice, bob):
        alice.ws_publish({"type": "order", "number": 42, "items": [{"id": 1}]})
        alice.ws_publish({"type": "order", "number": 43})
        bob.ws_publish("hi")
        broadcast({"type": "news", "text": "Tea"})

    def test_a_subset_of_a_dict(self, ws_outbox, alice):
        """Of a dict only the keys that are named count; nested ones must be equal."""
        ws_outbox.assert_published(alice, {"number": 42})
        ws_outbox.assert_published(alice, {"number": 42, "items": [{"id": ANY}]})
        ws_outbox.assert_published(alice, data={"type": "order"}, count=2)
        ws_outbox.assert_published(alice.pk, count=2)
        ws_outbox.assert_published(alice, {"type": "order"}, count=None)
        ws_outbox.assert_published(alice, {"type": "nothing"}, count=0)
        with pytest.raises(AssertionError):
            ws_outbox.assert_published(alice, {"number": 42, "items": [{}]})

    def test_others(self, ws_outbox, alice, bob):
        """Anything else must be equal; a broadcast is nobody's message."""
        ws_outbox.assert_published(bob, "hi")
        ws_outbox.assert_broadcast({"text": "Tea"})
        ws_outbox.assert_not_published(bob, {"text": "Tea"})
        ws_outbox.assert_not_published(10**6)
        for wrong in ("h", {"hi": 1}, ["hi"], None):
            with pytest.raises(AssertionError):
                ws_outbox.assert_published(bob, wrong)
        with pytest.raises(AssertionError, match="got 2"):
            ws_outbox.assert_published(alice)
        with pytest.raises(AssertionError, match="Expected nothing"):
            ws_outbox.assert_not_published(bob)
        with pytest.raises(AssertionError, match="everybody"):
            ws_outbox.assert_not_published()

    def test_what_fails_shows_what_was_published(self, ws_outbox, alice):
        """With a diff to the nearest."""
        with pytest.raises(AssertionError) as failure:
            ws_outbox.assert_published(alice, {"type": "order", "number": 44})
        text = str(failure.value)
        assert f"user {alice.pk} (alice) 1 time(s), got 0" in text.replace("'", "")
        assert "2. to user" in text
        assert '4. to everybody: {"type": "news", "text": "Tea"}' in text
        assert '-  "number": 44' in text
        assert '+  "number": 4' in text
        assert "items" not in text.split("The nearest")[1]

    def test_dates_are_compared_as_they_are_sent(self, ws_outbox, alice):
        """What is expected goes through JSON too."""
        alice.ws_publish({"due": datetime(2026, 1, 2, tzinfo=UTC), "keys": {1: 2}})
        ws_outbox.assert_published(alice, {"due": datetime(2026, 1, 2, tzinfo=UTC), "keys": {1: 2}})

    def test_an_unsaved_user(self, ws_outbox, django_user_model):
        """Is nobody to whom anything was published."""
        with pytest.raises(ValueError, match="save it first"):
            ws_outbox.assert_published(django_user_model(username="new"))
        with pytest.raises(TypeError):
            ws_outbox.assert_published(object())

    def test_nothing_published(self, alice):
        """Is said."""
        with capture() as outbox, pytest.raises(AssertionError, match="Nothing was published"):
            outbox.assert_published(alice)
        outbox.assert_not_published()


def test_isolate_without_a_capture(without_redis, alice):
    """Publishing goes nowhere, and raises nothing."""
    with isolate():
        assert alice.ws_publish("nobody hears it") == 0
