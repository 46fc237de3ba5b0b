"""``manage.py ws_online``."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from ... import presence
from ...exceptions import PresenceUnavailable
from ...presence.stores import get_store
from ...presence.stores.base import OnlineCount
from ._user import mention_one_process


class Command(BaseCommand):
    """List who is online."""

    help = "List the users who are online: primary key, username."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one user a line, then the number."""
        mention_one_process(self)
        try:
            get_store().ask(OnlineCount())  # `presence` would say that nobody is online
        except PresenceUnavailable as error:
            raise CommandError(str(error)) from error
        pks = presence.online_users()
        users: Any = get_user_model()._default_manager.in_bulk(pks)
        for pk in sorted(pks, key=str):
            self.stdout.write(f"{pk}\t{users.get(pk, '(deleted)')}")
        self.stdout.write(f"{len(pks)} online.")
