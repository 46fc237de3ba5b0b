"""``manage.py demo``: Valkey, migrations, users, daphne and a Celery worker, by one command."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from demo.runner.processes import ChildDied, Processes, Stopped
from demo.runner.run import CannotStart, check_port, run


def port_number(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is no port: 1 to 65535")
    return port


class Command(BaseCommand):
    help = "Runs the whole demo; Ctrl-C ends it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
        parser.add_argument("--port", type=port_number, default=8000, help="default: 8000")
        parser.add_argument("--no-worker", action="store_true", help="without a Celery worker")

    def handle(self, *args: Any, host: str, port: int, no_worker: bool, **options: Any) -> None:
        host = host.strip("[]")
        try:
            check_port(host, port)
            with Processes() as processes:
                try:
                    self.stdout.write(run(processes, host, port, has_worker=not no_worker))
                    self.stdout.flush()
                    processes.pause()
                except Stopped:
                    self.stdout.write("\nEnding...")
        except CannotStart as error:
            raise CommandError(str(error)) from None
        except ChildDied as error:
            raise CommandError(f"{error} The demo has ended.") from None
        self.stdout.write("The demo has ended.")
