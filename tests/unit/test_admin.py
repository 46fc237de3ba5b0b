"""Presence in Django's admin, on users that are in no database."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User as DjangosUser
from django.core.paginator import Page, Paginator
from django.db.models import Q
from django.test import RequestFactory

from bazis_ws_channels.admin import OnlineFilter, UserWsAdminMixin
from bazis_ws_channels.presence.stores import use_store
from bazis_ws_channels.presence.stores.base import Connect, Register, Token
from bazis_ws_channels.presence.stores.memory import MemoryStore
from tests.project.models import User


class Store(MemoryStore):
    """Presence in the process, which notes what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def ask(self, question):
        """Answer."""
        self.asked.append(type(question).__name__)
        return super().ask(question)


@pytest.fixture(autouse=True)
def store():
    """User 1 is online, user 2 is not."""
    store = Store()
    store.ask(Register("a-process", 10_000))
    store.ask(Connect("a-process", "a-session", "1", 9, Token()))
    store.asked.clear()
    with use_store(store):
        yield store


class PageOfUsers(Paginator):
    """A project's paginator: its page is there without a database."""

    count = 3
    users = ()

    def page(self, number):
        """Return the users."""
        return Page(self.users, number, self)


class Admin(UserWsAdminMixin, admin.ModelAdmin):
    """A user admin as a project writes it, two users a page."""

    list_display = ("username",)
    list_filter = ("is_staff",)
    list_per_page = 2
    paginator = PageOfUsers
    show_full_result_count = False


class Ordered(Admin):
    """One that orders the columns itself."""

    list_display = ("ws_online", "username")
    list_filter = (OnlineFilter, "is_staff")


@pytest.fixture
def request_of_staff(rf: RequestFactory, make_user):
    """Return a request of somebody who may do all, with these parameters."""

    def request(**parameters):
        request = rf.get("/", parameters)
        request.user = make_user(9, is_superuser=True, is_staff=True)
        return request

    return request


def site(admin_class):
    """Return an admin of users."""
    return admin_class(User, admin.AdminSite())


def test_the_column_and_the_filter_come_last(request_of_staff):
    """Those of the project stay."""
    own, request = site(Admin), request_of_staff()
    assert own.get_list_display(request) == ("username", "ws_online")
    assert own.get_list_filter(request) == ("is_staff", OnlineFilter)


def test_an_admin_that_names_them_keeps_its_order(request_of_staff):
    """They are not added again."""
    own, request = site(Ordered), request_of_staff()
    assert own.get_list_display(request) == Ordered.list_display
    assert own.get_list_filter(request) == Ordered.list_filter


@pytest.mark.parametrize("admin_class", [Admin, Ordered])
def test_djangos_own_checks_pass(admin_class):
    """The mixin breaks none."""
    assert site(admin_class).check() == []


def test_a_page_is_one_round_trip(store, make_user, request_of_staff, monkeypatch):
    """However many users it shows."""
    monkeypatch.setattr(PageOfUsers, "users", [make_user(1), make_user(2)])
    own = site(Admin)
    page = own.get_changelist_instance(request_of_staff())
    assert store.asked == ["Statuses"]
    assert [own.ws_online(user) for user in page.result_list] == [True, False]
    assert store.asked == ["Statuses"]


def test_djangos_own_user(store, request_of_staff, settings, monkeypatch):
    """It has no mixin, and needs none: in a list, and alone as on the page of one user."""
    settings.AUTH_USER_MODEL = "auth.User"
    monkeypatch.setattr(PageOfUsers, "users", [DjangosUser(pk=1), DjangosUser(pk=2)])
    own = Admin(DjangosUser, admin.AdminSite())
    page = own.get_changelist_instance(request_of_staff())
    assert [own.ws_online(user) for user in page.result_list] == [True, False]
    assert store.asked == ["Statuses"]
    assert [own.ws_online(DjangosUser(pk=pk)) for pk in (1, 2, None)] == [True, False, False]


@pytest.mark.parametrize(
    ("value", "condition", "questions"),
    [
        ("yes", Q(pk__in={1}), 1),
        ("no", ~Q(pk__in={1}), 1),
        ("nonsense", Q(), 0),
        (None, Q(), 0),
    ],
)
def test_the_filter(store, request_of_staff, value, condition, questions):
    """Yes, no, and everybody for what it doesn't know."""
    parameters = {} if value is None else {"online": [value]}
    chosen = OnlineFilter(request_of_staff(), parameters, User, site(Admin))
    found = chosen.queryset(request_of_staff(), User.objects.all())
    assert str(found.query) == str(User.objects.filter(condition).query)
    assert len(store.asked) == questions


def test_its_choices(request_of_staff):
    """Two, besides Django's own for all."""
    chosen = OnlineFilter(request_of_staff(), {}, User, site(Admin))
    assert [(key, str(name)) for key, name in chosen.lookup_choices] == [
        ("yes", "Yes"),
        ("no", "No"),
    ]
