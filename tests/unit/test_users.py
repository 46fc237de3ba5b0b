"""Users and their keys."""

import uuid
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import BigAutoField, CharField, IntegerField, UUIDField

from bazis_ws_channels import users


@pytest.fixture
def pk_field(monkeypatch):
    """Give the user model another primary key: ``pk_field(UUIDField())``."""

    def use(field):
        field.name = field.attname = "id"
        meta = SimpleNamespace(pk=field)
        model = type("Someone", (), {"_meta": meta})
        monkeypatch.setattr(users, "_user_model", lambda: model)

    return use


def test_pk_of_takes_instances_and_keys(make_user):
    """A key is normalised by the model's field."""
    assert users.pk_of(make_user(7)) == 7
    assert users.pk_of(7) == 7
    assert users.pk_of("7") == 7
    assert users.pk_of(2**40) == 2**40


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        True,
        1.5,
        (1, 2),
        [1],
        {1},
        {"pk": 1},
        "seven",
        "",
        b"7x",
        pytest.param(object(), id="an object"),
        pytest.param(AnonymousUser(), id="nobody"),
        2**70,
    ],
    ids=repr,
)  # fmt: skip
def test_pk_of_refuses_what_is_no_user(wrong):
    """And names it."""
    with pytest.raises(TypeError, match="User"):
        users.pk_of(wrong)


def test_the_user_model_is_that_of_the_settings(settings):
    """Though it is looked up once."""
    with pytest.raises(TypeError):
        users.pk_of(Group(pk=1))
    settings.AUTH_USER_MODEL = "auth.Group"
    assert users.pk_of(Group(pk=1)) == 1


def test_pk_of_refuses_other_models():
    """A group has a primary key too, which is no user's."""
    with pytest.raises(TypeError, match="expected a User, got Group"):
        users.pk_of(Group(pk=1, name="staff"))


def test_pk_of_refuses_the_unsaved(make_user):
    """Nobody could be reached by it."""
    with pytest.raises(ValueError, match=r"save"):
        users.pk_of(make_user(None))


def test_pks_of_counts_each_once_in_order(make_user):
    """However a user is given."""
    assert users.pks_of([3, make_user(1), "3", 1, 2]) == [3, 1, 2]
    assert users.pks_of(iter([])) == []


@pytest.mark.parametrize("one", ["alice", b"7", 7, None])
def test_one_user_is_not_several(one):
    """Nor are the letters of a name."""
    with pytest.raises(TypeError, match="expected several users"):
        users.several(one)


def test_an_instance_is_not_several(make_user):
    """The commonest slip."""
    with pytest.raises(TypeError, match="expected several users"):
        users.pks_of(make_user(1))


def test_a_uuid_has_one_form(pk_field):
    """Its hex digits and the UUID are the same user."""
    pk_field(UUIDField())
    value = uuid.uuid4()
    assert users.pk_of(value.hex) == users.pk_of(str(value)) == users.pk_of(value) == value
    assert users.pk_from_json(value.hex) == value
    assert users.pk_from_key(users.key_of(value)) == value


def test_text_keys_hold_what_utf8_does(pk_field):
    """And what the field's length allows."""
    pk_field(CharField(max_length=5))
    assert users.pk_of("a|b") == "a|b"
    for wrong in ("abcdef", "\ud800"):
        with pytest.raises(TypeError, match="or its primary key"):
            users.pk_of(wrong)


@pytest.mark.parametrize(
    ("field", "largest"), [(BigAutoField(), 2**63 - 1), (IntegerField(), 2**31 - 1)], ids=str
)
def test_integers_are_held_to_their_field(pk_field, field, largest):
    """Validators are run for those that 32 bits can't hold."""
    pk_field(field)
    assert users.pk_of(-(2**31)) == -(2**31)
    assert users.pk_of(2**31 - 1) == 2**31 - 1
    for wrong in (2**64, -(2**64)):
        with pytest.raises(TypeError):
            users.pk_of(wrong)


@pytest.mark.parametrize("wrong", [True, None, "", 1.0, [], {}, "x", 2**80, "\ud800"], ids=repr)
def test_what_clients_may_not_send_as_an_id(wrong):
    """Anything but a number or its string."""
    with pytest.raises(ValueError, match="not a user id"):
        users.pk_from_json(wrong)


def test_what_clients_may_send_as_an_id():
    """A number, or its string."""
    assert users.pk_from_json(7) == users.pk_from_json("7") == 7


def test_keys_without_a_namespace(settings):
    """The plain primary key, unless it could be taken for a key in a namespace."""
    assert users.key_of(7) == "7"
    assert users.namespace_of("7") == ""
    assert users.own_keys(["7", "north|7"]) == ["7"]
    assert users.key_of("a|b") == "|a|b"
    assert users.namespace_of("|a|b") == ""


def test_keys_with_a_namespace(settings, make_user):
    """Two spaces never share a key."""
    settings.BAZIS_WS_NAMESPACE = "north"
    assert users.key_of(7) == "north|7"
    assert users.namespace_of("north|7") == "north"
    assert users.pk_from_key("north|7") == 7
    assert users.keys_of([7, 8]) == ["north|7", "north|8"]
    assert users.keys_of_users([7, make_user(8), "7"]) == ["north|7", "north|8", "north|7"]
    assert users.own_keys(["north|7", "south|7", "7"]) == ["north|7"]
