"""Presence in querysets, templates and the admin: never once for each row."""

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.urls import path

from bazis_ws_channels.admin import OnlineFilter, UserWsAdminMixin
from tests.presence.support import round_trips
from tests.project.models import User
from tests.project.urls import urlpatterns as project_urlpatterns

pytestmark = pytest.mark.usefixtures("loaded")


class Admin(UserWsAdminMixin, UserAdmin):
    pass


class OrderedAdmin(UserWsAdminMixin, admin.ModelAdmin):
    list_display = ("ws_online", "username")
    list_filter = (OnlineFilter,)
    list_editable = ("username",)
    list_display_links = ("ws_online",)


site = admin.AdminSite("presence")
site.register(User, Admin)
ordered = admin.AdminSite("ordered")
ordered.register(User, OrderedAdmin)
urlpatterns = [
    path("presence/", site.urls),
    path("ordered/", ordered.urls),
    *project_urlpatterns,
]

LIST = "/presence/project/user/"


@pytest.fixture
def staff(client, make_user, settings):
    """A client signed in to the admin."""
    settings.ROOT_URLCONF = __name__
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    return client


def names(users):
    """Return the user names, in order."""
    return [user.username for user in users]


def test_online_and_offline(users, redis):
    """They filter, and can be refined as any queryset."""
    with round_trips(redis, 1):
        assert names(User.objects.online().order_by("pk")) == ["user0", "user2", "user4"]
    assert names(User.objects.offline().order_by("pk")) == ["user1", "user3", "user5"]
    assert names(User.objects.filter(pk__gt=users[0].pk).online().order_by("-pk"))[0] == "user4"
    assert User.objects.online().count() == 3


def test_with_presence(users, redis, django_assert_num_queries):
    """One round trip when the rows are loaded, however the queryset is refined."""
    with round_trips(redis, 0):
        queryset = User.objects.with_presence().filter(pk__in=[u.pk for u in users]).order_by("pk")
    with round_trips(redis, 1), django_assert_num_queries(1):
        assert [user.is_online for user in queryset] == [True, False] * 3
        assert [user.last_seen is None for user in queryset] == [False, True] * 3
    with round_trips(redis, 1):
        assert queryset.all()[0].is_online
    with round_trips(redis, 0):
        assert queryset.count() == 6
        assert len(queryset.values("pk")) == len(queryset.values_list("pk")) == 6


async def test_with_presence_in_async_code(alice, redis):
    """Async iteration loads it too, where asking would block the event loop."""
    assert [user.is_online async for user in User.objects.with_presence()] == [False]
    assert (await User.objects.with_presence().aget(pk=alice.pk)).is_online is False


def test_a_template(users, client, redis):
    """A page of users costs one round trip."""
    with round_trips(redis, 1):
        text = client.get("/online/").content.decode()
    assert "user0: online" in text
    assert "user1: offline" in text


def test_the_admin_column(users, staff, redis):
    """One round trip for a page."""
    with round_trips(redis, 1):
        text = staff.get(LIST).content.decode()
    assert text.count("icon-yes") >= 3
    assert text.count('class="field-ws_online"') == 7


@pytest.mark.parametrize(("value", "expected"), [("yes", 3), ("no", 4), ("nonsense", 7)])
def test_the_admin_filter(users, staff, value, expected):
    """Yes, no, and all for what it doesn't know."""
    text = staff.get(LIST, {"online": value}).content.decode()
    assert text.count('class="field-ws_online"') == expected


def test_an_admin_that_orders_its_columns(users, staff):
    """Columns that it names itself aren't added again."""
    text = staff.get("/ordered/project/user/").content.decode()
    assert text.count('class="field-ws_online"') == 7
    request = staff.get("/ordered/project/user/").wsgi_request
    assert ordered._registry[User].get_list_filter(request).count(OnlineFilter) == 1


def test_the_admin_without_redis(users, staff, settings):
    """The page is there, and shows everybody offline."""
    settings.BAZIS_WS_REDIS_URL = "redis://127.0.0.1:1"
    text = staff.get(LIST).content.decode()
    assert text.count('class="field-ws_online"') == 7


def test_the_admin_passes_its_checks():
    """Django's own system checks find nothing wrong with the mixin."""
    assert site._registry[User].check() == []
    assert ordered._registry[User].check() == []
