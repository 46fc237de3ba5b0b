"""`notification` and `publish_changed`: the messages of bazis-ws's front ends."""

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.utils.translation import gettext_lazy

from bazis_ws_channels.publishing import (
    apublish_changed,
    notification,
    notify,
    publish_changed,
)
from tests.project.models import Post, User


@pytest.fixture
def post(alice):
    return Post.objects.create(author=alice, title="Tea")


def test_notification(post):
    """Title, text, what it is about, and whatever else."""
    assert notification("Hello") == {"action": "notification", "title": "Hello"}
    assert notification("Hello", "there", post, severity="high") == {
        "action": "notification",
        "title": "Hello",
        "text": "there",
        "resource": "project.post",
        "id": str(post.pk),
        "severity": "high",
    }
    assert notification("Hello", obj=post)["id"] == str(post.pk)


def test_it_is_translated_for_each(ws_outbox, make_user):
    """A lazy string, in each user's language."""
    english, german = make_user("ann", language="en"), make_user("bert", language="de")
    notify([english, german], lambda user: notification(gettext_lazy("Yes")))
    ws_outbox.assert_published(english, {"title": "Yes"})
    ws_outbox.assert_published(german, {"title": "Ja"})


def test_changed(ws_outbox, post, alice):
    """Everybody, or those named; after the commit."""
    with transaction.atomic():
        publish_changed(post)
        publish_changed(post, [alice])
        assert ws_outbox == []
    data = {"resource": "project.post", "id": str(post.pk)}
    assert [(each.user, each.data) for each in ws_outbox] == [(None, data), (alice.pk, data)]


def test_a_write_that_is_rolled_back(ws_outbox, post):
    """Says nothing."""
    with transaction.atomic():
        publish_changed(post)
        transaction.set_rollback(True)
    ws_outbox.assert_not_published()


def test_a_deleted_object(ws_outbox, post):
    """Is told of before it goes; afterwards it has no name."""
    pk = post.pk
    with transaction.atomic():
        publish_changed(post)
        post.delete()
    ws_outbox.assert_broadcast({"resource": "project.post", "id": str(pk)})
    with pytest.raises(ValueError, match="not saved"):
        publish_changed(post)


async def test_async(ws_outbox, post, alice):
    """The twin, which the sync one names."""
    await apublish_changed(post)
    await apublish_changed(post, [alice.pk])
    assert [each.user for each in ws_outbox] == [None, alice.pk]
    with pytest.raises(SynchronousOnlyOperation, match="apublish_changed"):
        publish_changed(post)


@pytest.mark.parametrize("unsaved", [Post(title="new"), User(username="new"), User(pk=5)])
def test_an_unsaved_object(ws_outbox, unsaved):
    """Is an error, where it is made."""
    with pytest.raises(ValueError, match="save it first"):
        publish_changed(unsaved)
    with pytest.raises(ValueError, match="save it first"):
        notification("Hello", obj=unsaved)
    ws_outbox.assert_not_published()


@pytest.mark.parametrize("wrong", [Post, "project.post", None, 5])
def test_what_is_no_object(wrong):
    """So is this."""
    with pytest.raises(TypeError, match="expected a model instance"):
        publish_changed(wrong)
