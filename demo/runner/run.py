"""Valkey, migrations, users, daphne and a Celery worker: started in order, ended together."""

import contextlib
import ipaddress
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import redis
from django.core.management import call_command
from django.db import DatabaseError

from demo.accounts import PASSWORD, make_accounts
from demo.runner.processes import Processes

__all__ = ["CannotStart", "check_port", "run"]

EMBEDDED = Path(__file__).with_name("embedded.py")
#: How long daphne may take to answer for the first time.
START_SECONDS = 60
POLL_SECONDS = 0.1


class CannotStart(Exception):
    """The demo can't be started; the message says why, in one line."""


def run(processes: Processes, host: str, port: int, *, has_worker: bool) -> str:
    """Start everything; return how to use it.

    Raises:
        CannotStart: something is missing.
        Stopped, ChildDied: see `Processes.pause`.
    """
    env = dict(os.environ, DJANGO_SETTINGS_MODULE="demo.settings", PYTHONUNBUFFERED="1")
    env["LOG_LEVEL"] = env.get("LOG_LEVEL") or "WARNING"
    env["ALLOWED_HOSTS"] = allowed_hosts(host)
    env["REDIS_URL"] = given_redis() or embedded_redis(processes)
    prepare_database()
    start_daphne(processes, host, port, env)
    if has_worker:
        start_worker(processes, env)
    return greeting(host, port, has_worker)


def greeting(host: str, port: int, has_worker: bool) -> str:
    place = "localhost" if is_every(host) else f"[{host}]" if ":" in host else host
    lines = [
        f"The demo runs at http://{place}:{port}/",
        f"Sign in as alice, bob, carol or admin; the password is {PASSWORD}.",
        "Every tab may be somebody else: open two and talk to yourself.",
        "Ctrl-C ends it.",
    ]
    if is_every(host):
        lines.insert(1, "Other machines reach it too: whoever does can sign in.")
    if not has_worker:
        lines.insert(-1, "There is no worker: tasks wait until one comes.")
    return "\n".join(lines)


def check_port(host: str, port: int) -> None:
    """Complain of a port in use before anything is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise CannotStart(f"--host {host!r}: {error}") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CannotStart(
                f"Can't listen on {host} port {port}: {error.strerror}. Nothing was started;"
                " choose another with --port."
            ) from None


def is_every(host: str) -> bool:
    """Whether `host` means every address of this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def allowed_hosts(host: str) -> str:
    """Return ``ALLOWED_HOSTS`` of the servers: as it was given, or loopback and `host`.

    Whoever listens on every address wants to be found under names that we can't know. Pages of
    other names may then open sockets, too: a token is needed, which no browser sends by itself.
    """
    if given := os.environ.get("ALLOWED_HOSTS"):
        return given
    if is_every(host):
        return "*"
    return f"localhost,127.0.0.1,[::1],{f'[{host}]' if ':' in host else host}"


def prepare_database() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        make_accounts()
    except DatabaseError as error:
        raise CannotStart(f"The database can't be used: {error}") from None


def given_redis() -> str | None:
    """Return the URL of the environment's Redis, if there is one; it must answer."""
    url = os.environ.get("REDIS_URL")
    if not url:
        return None
    try:
        redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3).ping()
    except (redis.RedisError, ValueError) as error:
        raise CannotStart(f"REDIS_URL: no Redis answers there: {error}") from None
    return url


def embedded_redis(processes: Processes) -> str:
    """Start a server of our own; return its URL."""
    child = processes.start("Valkey", [sys.executable, "-I", str(EMBEDDED)], tells=True)
    answer = json.loads(processes.first_line(child))
    if "error" in answer:
        raise CannotStart(
            f"There is no embedded Valkey on this machine ({answer['error']}); set REDIS_URL."
        )
    return str(answer["url"])


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
    processes.start("The Celery worker", program, env=env)


def wait_until(processes: Processes, name: str, answers: Callable[[], bool]) -> None:
    for _ in range(int(START_SECONDS / POLL_SECONDS)):
        processes.pause(POLL_SECONDS)
        if answers():
            return
    raise CannotStart(f"{name} did not answer within {START_SECONDS} s.")
