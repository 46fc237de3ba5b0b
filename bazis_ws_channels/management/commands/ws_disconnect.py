"""``manage.py ws_disconnect USER``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...auth import disconnect
from ...exceptions import WsError
from ._user import find_user, mention_one_process


class Command(BaseCommand):
    """End a user's sessions everywhere."""

    help = "End a user's sessions on every process and void the user's tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare USER and --sessions."""
        parser.add_argument("user")
        parser.add_argument(
            "--sessions", action="store_true", help="End the user's Django sessions too."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Disconnect, and say how many connections there were."""
        user = find_user(options["user"])
        try:
            count = disconnect(user, sessions=options["sessions"])
        except WsError as error:
            raise CommandError(str(error)) from error
        mention_one_process(self)
        self.stdout.write(f"Ended {count} session(s) of {user}.")
