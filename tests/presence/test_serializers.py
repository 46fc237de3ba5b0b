"""`is_online` in DRF: one round trip for a document, however deep the users are in it."""

import json

import pytest
from rest_framework import serializers
from rest_framework.routers import DefaultRouter
from rest_framework.test import force_authenticate

from bazis_ws_channels.serializers import LastSeenField, OnlineField, UserWsSerializerMixin
from bazis_ws_channels.viewsets import UserWsViewSet
from tests.presence.support import round_trips
from tests.project.models import Post, User

pytestmark = pytest.mark.usefixtures("loaded")


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
    assert is_online(data["results"]) == EXPECTED
    one = json.loads(client.get(f"/users/{users[1].pk}/").content)
    assert one["is_online"] is False


def test_the_view_set_hides_inactive_users(users, client):
    """Active users only, unless a project says otherwise."""
    User.objects.filter(pk=users[2].pk).update(is_active=False)
    client.force_login(users[0])
    assert json.loads(client.get("/users/").content)["count"] == 5


def test_the_view_set_has_pages(users, client):
    """Of 100, unless somebody asks for others or the project has pages of its own."""
    client.force_login(users[0])
    page = json.loads(client.get("/users/?page_size=4&page=2").content)
    assert (page["count"], len(page["results"])) == (6, 2)
    assert UserWsViewSet.pagination_class.page_size == 100


def test_the_view_set_shows_the_presence_of_those_who_may_be_watched(users, client, redis):
    """One's own too; of others nothing, not even when they were last seen."""
    viewer = users[0]
    User.objects.filter(pk=viewer.pk).update(watches="even")
    client.force_login(viewer)
    with round_trips(redis, 1):
        rows = json.loads(client.get("/users/").content)["results"]
    for user, row in zip(users, rows, strict=True):
        shown = user.pk == viewer.pk or user.pk % 2 == 0
        assert row["is_online"] is (shown and users.index(user) % 2 == 0)
        assert (row["last_seen"] is not None) is row["is_online"]
    User.objects.filter(pk=viewer.pk).update(watches="none")
    one = json.loads(client.get(f"/users/{users[2].pk}/").content)
    assert (one["is_online"], one["last_seen"]) == (False, None)
    assert json.loads(client.get(f"/users/{viewer.pk}/").content)["is_online"] is True


def test_a_view_set_may_show_everybody_s_presence(users, rf):
    """If the project says so."""

    class Everybody(UserWsViewSet):
        shows_all_presence = True

    users[0].watches = "none"
    request = rf.get("/")
    force_authenticate(request, users[0])
    response = Everybody.as_view({"get": "list"})(request)
    assert is_online(response.data["results"]) == EXPECTED


def test_rows_of_values(users, redis):
    """With the primary key in them, under either name; one round trip."""

    class Row(UserWsSerializerMixin, serializers.Serializer):
        username = serializers.CharField()

    for pk in ("id", "pk"):
        rows = User.objects.order_by("pk").values(pk, "username")
        with round_trips(redis, 1):
            data = Row(rows, many=True).data
        assert [each["is_online"] for each in data] == [True, False] * 3
        assert [each["last_seen"] is not None for each in data] == [True, False] * 3
    with pytest.raises(KeyError, match="id"):
        _ = Row(User.objects.values("username"), many=True).data


def test_rows_of_values_in_a_field_of_its_own(users):
    """A post's row names its author by the key."""

    class Row(serializers.Serializer):
        online = OnlineField(source="author_id")

    Post.objects.create(title="post", author=users[0])
    assert Row(Post.objects.values("author_id"), many=True).data == [{"online": True}]


def test_the_openapi_document():
    """As drf-spectacular writes it: a boolean, and a date-time or null."""
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.openapi import AutoSchema

    class Described(UserWsViewSet):
        schema = AutoSchema()

    router = DefaultRouter()
    router.register("users", Described, basename="user")
    document = SchemaGenerator(patterns=router.urls).get_schema(public=True)
    properties = document["components"]["schemas"]["UserWs"]["properties"]
    assert properties["is_online"] == {"type": "boolean", "readOnly": True}
    assert properties["last_seen"] == {
        "type": "string",
        "format": "date-time",
        "nullable": True,
        "readOnly": True,
    }
