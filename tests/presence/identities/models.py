"""Users by text, users by UUID."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

from bazis_ws_channels.models import UserWsMixin


class _User(UserWsMixin, AbstractBaseUser):
    username = models.CharField(max_length=50, unique=True)

    USERNAME_FIELD = "username"
    objects = BaseUserManager()

    class Meta:
        abstract = True

    def ws_can_watch(self, user_ids):
        return True


class TextUser(_User):
    """A user whose primary key may be any text."""

    id = models.CharField(primary_key=True, max_length=200)


class SnowflakeUser(_User):
    """A user whose primary key is a number that JavaScript can't tell from the next one."""

    id = models.PositiveBigIntegerField(primary_key=True)


class UuidUser(_User):
    """A user whose primary key is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
