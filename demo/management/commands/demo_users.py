"""``manage.py demo_users``: the demo's people, for a deployment without ``manage.py demo``."""

from typing import Any

from django.core.management.base import BaseCommand

from demo.accounts import make_accounts


class Command(BaseCommand):
    help = "Makes the users alice, bob, carol and admin, each with the password demo."

    def handle(self, *args: Any, **options: Any) -> None:
        made = make_accounts()
        self.stdout.write(f"made: {', '.join(made)}" if made else "all of them exist")
