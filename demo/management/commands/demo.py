"""``manage.py demo``: Valkey, migrations, users, daphne and a Celery worker, by one command."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from demo.accounts import PASSWORD, make_accounts
from demo.processes import ChildDied, Processes, Stopped

#: How long a server may take to answer for the first time.
START_SECONDS = 60
POLL_SECONDS = 0.1


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
        check_port(host, port)
        try:
            with Processes() as processes:
                try:
                    self.run(processes, host, port, no_worker)
                except Stopped:
                    self.stdout.write("\nEnding...")
        except ChildDied as error:
            raise CommandError(f"{error} The demo has ended.") from None
        self.stdout.write("The demo has ended.")

    def run(self, processes: Processes, host: str, port: int, no_worker: bool) -> None:
        env = dict(os.environ, DJANGO_SETTINGS_MODULE="demo.settings", PYTHONUNBUFFERED="1")
        env["LOG_LEVEL"] = env.get("LOG_LEVEL") or "WARNING"
        env["ALLOWED_HOSTS"] = allowed_hosts(host)
        env["REDIS_URL"] = start_redis(processes)
        prepare_database()
        start_daphne(processes, host, port, env)
        if not no_worker:
            start_worker(processes, env)
        self.greet(host, port, no_worker)
        processes.pause()

    def greet(self, host: str, port: int, no_worker: bool) -> None:
        place = f"[{host}]" if ":" in host else host
        lines = [
            f"The demo runs at http://{place}:{port}/",
            f"Sign in as alice, bob, carol or admin; the password is {PASSWORD}.",
            "Every tab may be somebody else: open two and talk to yourself.",
            "Ctrl-C ends it.",
        ]
        if no_worker:
            lines.insert(-1, "There is no worker: tasks wait until one comes.")
        self.stdout.write("\n".join(lines))
        self.stdout.flush()


def check_port(host: str, port: int) -> None:
    """Complain of a port in use before anything is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise CommandError(f"--host {host!r}: {error}") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CommandError(
                f"Can't listen on {host} port {port}: {error.strerror}. Nothing was started;"
                " choose another with --port."
            ) from None


def allowed_hosts(host: str) -> str:
    """Return ``ALLOWED_HOSTS`` of the servers: as it was given, or loopback and `host`."""
    given = os.environ.get("ALLOWED_HOSTS")
    return given or f"localhost,127.0.0.1,[::1],{f'[{host}]' if ':' in host else host}"


def prepare_database() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        make_accounts()
    except DatabaseError as error:
        raise CommandError(f"The database can't be used: {error}") from None


def start_redis(processes: Processes) -> str:
    """Return the URL of a server that answers: the one of the environment, or our own."""
    url = os.environ.get("REDIS_URL")
    if url:
        try:
            redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3).ping()
        except (redis.RedisError, ValueError) as error:
            raise CommandError(f"REDIS_URL: no Redis answers there: {error}") from None
        return url
    try:
        from demo.embedded import valkey

        program, config, url = valkey(settings.DATA_DIR)
    except Exception as error:
        raise CommandError(
            f"There is no embedded Valkey on this machine ({error}); set REDIS_URL."
        ) from None
    processes.start("Valkey", program, stdin=config, quiet=True)  # it keeps a log
    client = redis.Redis.from_url(url)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    wait_until(processes, "Valkey", answers)
    return url


def start_daphne(processes: Processes, host: str, port: int, env: dict[str, str]) -> None:
    program = [sys.executable, "-m", "daphne", "--bind", host, "--port", str(port)]
    # Every request as a line would hide what matters.
    program += ["--verbosity", "0", "--access-log", os.devnull, "demo.asgi:application"]
    processes.start("daphne", program, env=env)

    def answers() -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(processes, "daphne", answers)


def start_worker(processes: Processes, env: dict[str, str]) -> None:
    program = [sys.executable, "-m", "celery", "--app", "demo", "--quiet", "worker"]
    program += ["--loglevel", "WARNING", "--concurrency", "2", "--hostname", "demo@%h"]
    program += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # SIGTERM lets running tasks finish, for which Redis must be there; after a kill -9 of this
    # process it is not, so the worker gets the signal that ends it and its pool at once.
    processes.start("The Celery worker", program, env=env, death_signal=signal.SIGQUIT)


def wait_until(processes: Processes, name: str, answers: Callable[[], bool]) -> None:
    for _ in range(int(START_SECONDS / POLL_SECONDS)):
        processes.pause(POLL_SECONDS)
        if answers():
            return
    raise CommandError(f"{name} did not answer within {START_SECONDS} s.")
