"""``manage.py ws_token USER``."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...auth import issue
from ._user import find_user


class Command(BaseCommand):
    """Print a token for a user."""

    help = "Print a token that opens a session for a user (username or primary key)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare USER and --lifetime."""
        parser.add_argument("user")
        parser.add_argument("--lifetime", type=float, metavar="SECONDS")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token alone, for use in a script."""
        try:
            self.stdout.write(issue(find_user(options["user"]), options["lifetime"]))
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
