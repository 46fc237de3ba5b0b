"""The users of the test project."""

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models

from bazis_ws_channels.models import UserWsMixin, UserWsQuerySet


class Users(UserManager.from_queryset(UserWsQuerySet)):
    """Users, with presence."""

    use_in_migrations = False


class User(UserWsMixin, AbstractUser):
    """A user who may watch everybody, unless `watches` says otherwise."""

    language = models.CharField(max_length=10, default="en")
    watches = models.CharField(max_length=10, default="all")

    objects = Users()

    def ws_can_watch(self, user_ids):
        """All, none, or those with an even primary key."""
        if self.watches == "even":
            return [pk for pk in user_ids if pk % 2 == 0]
        return self.watches == "all"

    @property
    def ws_language(self):
        """The user's own language."""
        return self.language


class Post(models.Model):
    """Something with an author, to nest users in."""

    author = models.ForeignKey(User, models.CASCADE, related_name="posts")
    readers = models.ManyToManyField(User, related_name="read_posts")
    title = models.CharField(max_length=50)


class Staff(User):
    """The same users, seen through a proxy model: its signals have another sender."""

    class Meta:
        proxy = True
