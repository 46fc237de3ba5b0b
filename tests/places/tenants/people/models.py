"""The users of one tenant, in its schema."""

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

from bazis_ws_channels.models import UserWsMixin


class User(UserWsMixin, AbstractBaseUser):
    """A user who may watch those of the same tenant that exist."""

    username = models.CharField(max_length=50, unique=True)
    USERNAME_FIELD = "username"
    objects = BaseUserManager()

    def ws_can_watch(self, user_ids):
        """Those who exist here."""
        return set(User.objects.filter(pk__in=user_ids).values_list("pk", flat=True))
