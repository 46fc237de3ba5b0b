"""Presence in serializers: one question a document, however it is nested."""

from datetime import datetime
from types import SimpleNamespace

import pytest
from django.utils import timezone
from rest_framework import serializers

from bazis_ws_channels import presence
from bazis_ws_channels.serializers import LastSeenField, OnlineField, UserWsSerializerMixin
from bazis_ws_channels.testing import online


class Named(UserWsSerializerMixin):
    """A user."""

    username = serializers.CharField()


class Post(serializers.Serializer):
    """Something with an author and readers."""

    author = Named()
    readers = Named(many=True)
    author_online = OnlineField(source="author")


class Blog(serializers.Serializer):
    """Posts, and an owner who may be nobody."""

    posts = Post(many=True)
    owner_online = OnlineField(source="owner")
    owner_seen = LastSeenField(source="owner")


@pytest.fixture
def asked(monkeypatch):
    """What presence was asked, as lists of primary keys."""
    asked, statuses = [], presence.statuses

    def watched(users):
        users = list(users)
        asked.append(sorted({getattr(user, "pk", user) for user in users}))
        return statuses(users)

    monkeypatch.setattr(presence, "statuses", watched)
    return asked


@pytest.fixture
def users(make_user):
    """Six users, 0 to 5; those with an odd number are online."""
    with online(1, 3, 5):
        yield [make_user(pk) for pk in range(1, 7)]


def test_one_user(users, asked):
    """With all that is known of the user."""
    first, second = (Named(user).data for user in users[:2])
    assert first["is_online"] is True
    assert datetime.fromisoformat(first["last_seen"]) <= timezone.now()
    assert (second["is_online"], second["last_seen"]) == (False, None)
    assert asked == [[1], [2]]


def test_a_list_is_one_question(users, asked):
    """Of everybody in it."""
    data = Named(users, many=True).data
    assert [each["is_online"] for each in data] == [True, False] * 3
    assert asked == [[1, 2, 3, 4, 5, 6]]
    assert Named([], many=True).data == []
    assert len(asked) == 1


def test_a_nested_document(users, asked):
    """A question for each field that has users of its own, none for each user."""
    posts = [SimpleNamespace(author=user, readers=users[:3]) for user in users]
    data = Blog(SimpleNamespace(posts=posts, owner=users[0])).data
    assert [each["author"]["is_online"] for each in data["posts"]] == [True, False] * 3
    assert [each["author_online"] for each in data["posts"]] == [True, False] * 3
    assert [[u["is_online"] for u in each["readers"]] for each in data["posts"]] == [
        [True, False, True]
    ] * 6
    assert data["owner_online"] is True
    assert asked == [[1, 2, 3, 4, 5, 6]]


def test_nobody(users, asked):
    """No user, and one that isn't saved, were never there."""
    data = Blog(SimpleNamespace(posts=[], owner=None)).data
    assert (data["owner_online"], data["owner_seen"]) == (None, None)
    users[0].pk = None
    assert Named(users[0]).data["is_online"] is False
    assert asked == []


@pytest.mark.parametrize("key", ["pk", "id"])
def test_rows_of_values(users, asked, key):
    """By their primary key."""
    rows = [{key: pk, "username": "x"} for pk in (1, 2)]
    assert [each["is_online"] for each in Named(rows, many=True).data] == [True, False]
    assert asked == [[1, 2]]


def test_rows_without_a_primary_key(users):
    """Nobody can tell whose they are."""
    with pytest.raises(KeyError):
        _ = Named([{"username": "x"}], many=True).data


def test_whose_status_may_be_shown(users, asked):
    """The project is asked once; of the others it looks as if they never were there."""
    questions = []

    def shown(pks):
        questions.append(pks)
        return [pk for pk in pks if pk <= 2]

    data = Named(users, many=True, context={"ws_shown": shown}).data
    assert [each["is_online"] for each in data] == [True, *[False] * 5]
    assert [each["last_seen"] is None for each in data] == [False, *[True] * 5]
    assert questions == [[1, 2, 3, 4, 5, 6]]


def test_the_fields_are_read_only(users):
    """What a client sends is no status."""
    serializer = Named(data={"username": "x", "is_online": True, "last_seen": "2026-01-02"})
    assert serializer.is_valid()
    assert dict(serializer.validated_data) == {"username": "x"}
