"""The demo's users."""

from typing import Literal

from django.contrib.auth.models import AbstractUser

from bazis_ws_channels.models import UserWsMixin

__all__ = ["User"]


class User(UserWsMixin, AbstractUser):
    def ws_can_watch(self, user_ids) -> Literal[True]:
        """Let everybody see who is online. The package's default is nobody."""
        return True
