"""``manage.py ws_publish USER JSON``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import WsError
from ...publishing import publish
from ._user import find_user, mention_one_process, parse_json


class Command(BaseCommand):
    """Publish JSON to a user."""

    help = "Publish JSON to a user (username or primary key)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare USER and JSON."""
        parser.add_argument("user")
        parser.add_argument("json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish, and say to how many connections."""
        user, data = find_user(options["user"]), parse_json(options["json"])
        try:
            count = publish([user], data)
        except (TypeError, WsError) as error:
            raise CommandError(str(error)) from error
        mention_one_process(self)
        self.stdout.write(f"Published to {count} connection(s) of {user}.")
