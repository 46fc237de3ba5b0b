"""`is_online` in DRF: one round trip for a document, however deep the users are in it."""

import json

import pytest
from rest_framework import serializers

from bazis_ws_channels.serializers import LastSeenField, OnlineField, UserWsSerializerMixin
from tests.presence.test_reading import loaded, online, round_trips  # noqa: F401
from tests.project.models import Post, User


class UserSerializer(UserWsSerializerMixin, serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("username", "is_online", "last_seen")


class PostSerializer(serializers.ModelSerializer):
    author = UserSerializer()
    readers = UserSerializer(many=True)

    class Meta:
        model = Post
        fields = ("title", "author", "readers")


class FlatSerializer(serializers.ModelSerializer):
    author_online = OnlineField(source="author")
    seen = LastSeenField(source="author")

    class Meta:
        model = Post
        fields = ("author_online", "seen")


class LibrarySerializer(serializers.Serializer):
    posts = PostSerializer(many=True)
    owner = UserSerializer(allow_null=True)
    owner_online = OnlineField(source="owner")


@pytest.fixture
def users(make_user, online):  # noqa: F811
    """Six users; those with an even number are online."""
    users = [make_user(f"user{n}") for n in range(6)]
    online(*(user.pk for user in users[::2]))
    return users


@pytest.fixture
def posts(users):
    """Three posts, each with an author and two readers."""
    posts = [Post.objects.create(title=f"post{n}", author=users[n]) for n in range(3)]
    for n, post in enumerate(posts):
        post.readers.set([users[n], users[n + 3]])
    return posts


def is_online(document):
    """Return ``{username: is_online}`` of all users in a document."""
    found = {}
    if isinstance(document, list):
        for each in document:
            found |= is_online(each)
    elif isinstance(document, dict):
        if "username" in document:
            found[document["username"]] = document["is_online"]
        for each in document.values():
            found |= is_online(each)
    return found


EXPECTED = {f"user{n}": n % 2 == 0 for n in range(6)}


def test_one_user(users, redis):
    """Both fields, one round trip; `last_seen` is ISO 8601."""
    with round_trips(redis, 1):
        data = UserSerializer(users[0]).data
    assert data["is_online"] is True
    assert "T" in data["last_seen"]
    assert UserSerializer(users[1]).data["last_seen"] is None


@pytest.mark.parametrize("of", [list, lambda _: User.objects.order_by("pk")])
def test_a_list(users, redis, of, django_assert_num_queries):
    """One round trip and no query more than without."""
    source = of(users)
    with round_trips(redis, 1), django_assert_num_queries(0 if isinstance(source, list) else 1):
        data = UserSerializer(source, many=True).data
    assert is_online(data) == EXPECTED


def test_nested_users(posts, redis, django_assert_num_queries):
    """Authors and prefetched readers of a list of posts: one round trip, two queries."""
    queryset = Post.objects.select_related("author").prefetch_related("readers").order_by("pk")
    with round_trips(redis, 2), django_assert_num_queries(2):
        data = PostSerializer(queryset, many=True).data
    assert is_online(data) == EXPECTED


def test_users_deep_in_a_document(posts, users, redis):
    """Lists in objects in lists; somebody who is None is null."""
    posts = list(Post.objects.select_related("author").prefetch_related("readers"))
    data = LibrarySerializer({"posts": posts, "owner": None}).data
    assert is_online(data) == EXPECTED
    assert data["owner"] is None
    assert data["owner_online"] is None


def test_users_by_source(posts, redis):
    """A field may name the user; both fields and all rows share one round trip."""
    posts = Post.objects.select_related("author").order_by("pk")
    with round_trips(redis, 1):
        data = FlatSerializer(posts, many=True).data
    assert [each["author_online"] for each in data] == [True, False, True]


def test_a_row_whose_source_leads_nowhere_spoils_no_other(users):
    """Of users in optional objects, those that are there are shown."""

    class Item(serializers.Serializer):
        online = OnlineField(source="post.author")

    rows = [{"post": {"author": users[0]}}, {"post": None}, {"post": {"author": users[1]}}]
    data = Item(rows, many=True).data
    assert [each.get("online") for each in data] == [True, None, False]


def test_an_unsaved_user_is_offline(users):
    """As everywhere."""
    data = UserSerializer([User(username="new"), users[0]], many=True).data
    assert [each["is_online"] for each in data] == [False, True]


def test_the_fields_cannot_be_written(users):
    """Values that a client sends for them are ignored."""
    serializer = UserSerializer(users[1], data={"username": "other", "is_online": True})
    assert serializer.is_valid()
    assert set(serializer.validated_data) == {"username"}


def test_the_view_set(users, client, redis):
    """A page of the ready-made view costs one round trip; strangers see nothing."""
    assert client.get("/users/").status_code == 403
    client.force_login(users[0])
    with round_trips(redis, 1):
        data = json.loads(client.get("/users/").content)
    assert is_online(data) == EXPECTED
    one = json.loads(client.get(f"/users/{users[1].pk}/").content)
    assert one["is_online"] is False


def test_the_view_set_hides_inactive_users(users, client):
    """Active users only, unless a project says otherwise."""
    User.objects.filter(pk=users[2].pk).update(is_active=False)
    client.force_login(users[0])
    assert len(json.loads(client.get("/users/").content)) == 5
