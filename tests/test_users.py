"""Who is meant: users and their primary keys are addressed, nothing else is taken for one."""

import asyncio
import json
import os
import subprocess
import sys
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from bazis_ws_channels import auth, presence, publishing
from bazis_ws_channels.users import pk_of, pks_of
from tests.kit import ROOT, Client
from tests.project.models import Post, User

#: Whatever has users for its argument.
SEVERAL = {
    "publish": lambda users: publishing.publish(users, 1),
    "apublish": lambda users: async_to_sync(publishing.apublish)(users, 1),
    "notify": lambda users: publishing.notify(users, str),
    "anotify": lambda users: async_to_sync(publishing.anotify)(users, str),
    "online": presence.online,
    "aonline": lambda users: async_to_sync(presence.aonline)(users),
    "statuses": presence.statuses,
    "astatuses": lambda users: async_to_sync(presence.astatuses)(users),
    "last_seen": presence.last_seen,
    "count": presence.count,
    "acount": lambda users: async_to_sync(presence.acount)(users),
    "prefetch": presence.prefetch,
    "disconnect": lambda users: auth.disconnect(next(iter(users))),
    "adisconnect": lambda users: async_to_sync(auth.adisconnect)(next(iter(users))),
    "revoke_before": lambda users: auth.revoke_before(next(iter(users))),
    "arevoke_before": lambda users: async_to_sync(auth.arevoke_before)(next(iter(users))),
    "issue": lambda users: auth.issue(next(iter(users))),
}


@pytest.fixture(params=SEVERAL)
def ask(request):
    """A function that takes users."""
    return SEVERAL[request.param]


# --- who is none ---------------------------------------------------------------------------------


def test_the_rows_of_another_model_are_no_users(ask, alice):
    """Their primary keys are those of other users."""
    post = Post.objects.create(pk=alice.pk, author=alice, title="a post")
    for posts in (Post.objects.all(), [post], [SimpleLazyObject(lambda: post)]):
        with pytest.raises(TypeError, match=r"expected a User, got Post: <.*Post object"):
            ask(posts)


@pytest.mark.parametrize(
    "nobody",
    [
        *(AnonymousUser(), SimpleLazyObject(AnonymousUser), None, True, 1.0, Decimal("1.0")),
        *((1,), [1], {"pk": 1}, {1}, b"1", object(), User, User.objects, User.pk),
        *("alice", "", "1.5", "\ud800", 2**63, "9" * 5000),
    ],
    ids=lambda each: f"{type(each).__name__} {each!r:.20}".encode("ascii", "ignore").decode(),
)
def test_what_no_primary_key_can_be_is_named(nobody):
    """Instead of going to nobody, or to user 1, in silence."""
    for take in (pk_of, lambda user: pks_of([1, user])):
        with pytest.raises(TypeError, match=r"expected a User or its primary key, got ."):
            take(nobody)


def test_nobody_is_refused_wherever_users_are_taken(ask, db):
    """The same rule everywhere."""
    for nobody in (AnonymousUser(), SimpleLazyObject(AnonymousUser), "alice", (1,), True):
        with pytest.raises(TypeError, match="expected a User or its primary key, got "):
            ask([nobody])


def test_the_rows_of_values_list_are_named(ask, alice):
    """``flat=True`` was forgotten."""
    with pytest.raises(TypeError, match=rf"got \({alice.pk},\)"):
        ask(User.objects.values_list("pk"))
    with pytest.raises(TypeError, match=rf"got {{'pk': {alice.pk}}}"):
        ask(User.objects.values("pk"))


def test_an_unsaved_user_is_a_value_error():
    """It is of the right type, and comes too early."""
    with pytest.raises(ValueError, match="save it first"):
        pk_of(User(username="new"))


# --- who is who ----------------------------------------------------------------------------------


def test_each_user_is_meant_once_however_named(alice):
    """By instance, lazily, by key, by the key's text."""
    pk = alice.pk
    users = [alice, SimpleLazyObject(lambda: alice), pk, str(pk), f"0{pk}"]
    assert pks_of(users) == [pk]
    assert list(presence.statuses(users)) == [pk]
    assert list(presence.statuses(User.objects.values_list("pk", flat=True))) == [pk]


async def test_a_queryset_is_read_where_the_orm_may(alice):
    """By the async functions."""
    users = User.objects.all()
    assert await presence.aonline(users) == set()
    assert list(await presence.astatuses(users)) == [alice.pk]
    assert await presence.acount(users) == 0
    assert await publishing.apublish(users, 1) == 0
    assert await publishing.anotify(users, str) == 0


def test_a_token_for_a_lazy_user(alice):
    """As ``request.user`` is."""
    token = auth.issue(SimpleLazyObject(lambda: alice))
    assert auth.user_from_token(token) == alice


@isolate_apps("tests.project")
def test_a_child_model_s_own_primary_key_names_another_user():
    """The user's is the one that counts."""

    class Customer(User):
        number = models.AutoField(primary_key=True)
        account = models.OneToOneField(User, models.CASCADE, parent_link=True)

        class Meta:
            app_label = "project"

    customer = Customer(number=7, account_id=3, id=3)
    assert customer.pk == 7
    assert pk_of(customer) == 3
    assert customer.user_channel == "user_ws.3"


UUIDS = """
import django
django.setup()
import json, uuid
from django.contrib.auth import get_user_model
from bazis_ws_channels.users import pks_of, pk_from_json
pk = uuid.UUID("abcdef00-0000-4000-8000-000000000001")
names = [pk, str(pk), pk.hex, str(pk).upper(), pk.urn, get_user_model()(pk=pk.hex)]
[one] = pks_of(names)
assert one == pk_from_json(pk.hex.upper()) == pk
for nobody in ("1", "alice", str(pk)[:-1], b"x" * 16, 1.5):
    try:
        pks_of([nobody])
    except TypeError as error:
        assert "got " + repr(nobody) in str(error)
    else:
        raise AssertionError(nobody)
"""

TEXTS = """
import django
django.setup()
from bazis_ws_channels.users import pks_of
assert pks_of(["a", 1, "1"]) == ["a", "1"]
for nobody in (object(), ("a",), b"a", True, None, 1.5):
    try:
        pks_of([nobody])
    except TypeError:
        continue
    raise AssertionError(nobody)
"""


@pytest.mark.parametrize(("model", "program"), [("UuidUser", UUIDS), ("TextUser", TEXTS)])
def test_keys_of_other_kinds(model, program, tmp_path):
    """A UUID is the same user however it is written; text is text."""
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.presence.identities.settings",
        "IDENTITY": model,
        "IDENTITY_DATABASE": str(tmp_path / "identities.sqlite3"),
    }
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | env, check=True, timeout=60
    )


# --- what clients name ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [1.0, True, None, [1], {"pk": 1}, "alice", "", "1.5", 2**63, -(2**63) - 1, "9" * 5000]
)
async def test_a_client_that_watches_nobody_is_told(daphne, alice, name):
    """Its message is bad; its session goes on."""
    server = await asyncio.to_thread(daphne)
    async with Client(server.ws, alice.ws_token()) as client:
        await client.subscribed()
        await client.send({"type": "watch", "users": [alice.pk, name]})
        error = await client.receive()
        assert (error["type"], error["code"]) == ("error", "bad_message")
        await client.send({"type": "watch", "users": [alice.pk, str(alice.pk)]})
        assert json.loads(json.dumps(await client.receive()))["user"] == alice.pk
        assert await client.settle() == []
