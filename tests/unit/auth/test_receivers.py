"""Django's events that end sessions."""

import pytest
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete, post_save

from bazis_ws_channels.auth import receivers
from bazis_ws_channels.auth.receivers import connect_receivers
from tests.project.models import Post, Staff, User


@pytest.fixture
def ended(monkeypatch):
    """Whose sessions were ended; `error` is raised instead where it is set."""

    class Ended(list):
        error = None

        def __call__(self, key):
            if self.error is not None:
                raise self.error
            self.append(int(key))

    ended = Ended()
    monkeypatch.setattr(receivers, "disconnect_key", ended)
    return ended


@pytest.fixture
def alice(make_user):
    """A user."""
    return make_user(1)


def save(user, *, sender=User, created=False, raw=False, update_fields=None, using="default"):
    """Say that a user was saved."""
    post_save.send(
        sender, instance=user, created=created, raw=raw, update_fields=update_fields, using=using
    )


def test_log_out_ends_sessions_after_the_commit(ended, commits, alice):
    """Unless nobody was signed in."""
    user_logged_out.send(User, request=None, user=alice)
    user_logged_out.send(User, request=None, user=None)
    assert ended == []
    commits()
    assert ended == [1]


def test_a_new_password_ends_sessions(ended, commits, alice):
    """Not a hash that was only upgraded, nor one that isn't saved."""
    save(alice)
    alice.set_password("new")
    save(alice, update_fields={"email"})
    commits()
    assert ended == []
    save(alice, update_fields={"password"})
    save(alice)  # the same hash again
    commits()
    assert ended == [1]
    for how in ({"created": True}, {"raw": True}):
        alice.set_password("newer")
        save(alice, **how)
    commits()
    assert ended == [1]


def test_deactivation_ends_sessions(ended, commits, alice):
    """On the database where it was saved; of proxies too, but of no other model."""
    alice.is_active = False
    save(alice, update_fields={"email"})
    save(alice, using="other")
    save(alice, sender=Staff)
    save(alice, sender=Post)
    assert [using for _, using in commits] == ["other", "default"]
    commits()
    assert ended == [1, 1]


def test_deletion_ends_sessions(ended, commits, alice):
    """Under the key that it had."""
    post_delete.send(User, instance=alice, using="default")
    commits()
    assert ended == [1]


@pytest.mark.parametrize("name", ["LOGOUT", "PASSWORD_CHANGE", "DEACTIVATION"])
def test_each_may_be_switched_off(settings, ended, commits, alice, name):
    """The others go on."""
    setattr(settings, f"BAZIS_WS_END_ON_{name}", False)
    user_logged_out.send(User, request=None, user=alice)
    alice.set_password("new")
    save(alice)
    alice.is_active = False
    save(alice)
    post_delete.send(User, instance=alice, using="default")
    assert len(commits) == {"LOGOUT": 3, "PASSWORD_CHANGE": 3, "DEACTIVATION": 2}[name]


def test_a_failure_never_fails_the_write(ended, commits, alice, caplog):
    """It is done; the log has the user's key."""
    ended.error = RuntimeError("Redis is away")
    user_logged_out.send(User, request=None, user=alice)
    commits()
    assert "The sessions of user 1 could not be ended now" in caplog.text


def test_connecting_twice_is_connecting_once(ended, commits, alice):
    """An app may be loaded again."""
    connect_receivers()
    user_logged_out.send(User, request=None, user=alice)
    assert len(commits) == 1
