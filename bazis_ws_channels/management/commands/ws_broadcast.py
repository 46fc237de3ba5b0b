"""``manage.py ws_broadcast JSON``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import WsError
from ...publishing import broadcast
from ._user import mention_one_process, parse_json


class Command(BaseCommand):
    """Publish JSON to everybody connected."""

    help = "Publish JSON to everybody connected."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare JSON."""
        parser.add_argument("json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish."""
        try:
            broadcast(parse_json(options["json"]))
        except (TypeError, WsError) as error:
            raise CommandError(str(error)) from error
        mention_one_process(self)
        self.stdout.write("Published to everybody.")
