"""The user model of the measured project."""

from django.contrib.auth.models import AbstractUser

from bazis_ws_channels.models import UserWsMixin


class User(UserWsMixin, AbstractUser):
    """A user who can be published to."""
