"""``manage.py ws_status``."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from ... import presence
from ...exceptions import PresenceUnavailable
from ...history.commands import limits, scan
from ...presence.stores import get_store
from ...presence.stores.base import Fleet, Processes, ProcessState, Revocations
from ...redis.blocking import exchange, servers_of
from ...redis.errors import explain
from ...redis.hosts import Host
from ...sending import channel_layer

#: Processes of one question, and keys of one look for revocations.
_PROCESSES = 500
_KEYS = 2000
#: How long to look for revocations, which have no index.
_SECONDS = 5.0


class Command(BaseCommand):
    """Show the fleet: processes, connections, users online, revocations, history."""

    help = (
        "Show the server processes with their sessions, the number of users online, what is revoked"
        " and what can be replayed. A dead process is one whose users the others are about to tell"
        " offline."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare --json."""
        parser.add_argument("--json", action="store_true", help="One JSON object, for machines.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask the presence store, and print."""
        if not get_store().shared:
            raise CommandError(
                "Presence is kept in each process: set BAZIS_WS_REDIS_URL, or use a channel layer"
                " in Redis."
            )
        try:
            status = _status()
        except PresenceUnavailable as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(status))
        else:
            self._print(status)

    def _print(self, status: dict[str, Any]) -> None:
        for each in status["processes"]:
            state = "alive" if each["is_alive"] else "dead"
            connections = each["connections"]
            self.stdout.write(f"process {each['process']}  {state}  {connections} session(s)")
        alive = sum(each["is_alive"] for each in status["processes"])
        total = sum(each["connections"] for each in status["processes"])
        users = status["users_online"]
        self.stdout.write(f"{alive} process(es), {total} session(s), {users} user(s) online.")
        revoked = status["revoked"]
        more = "" if revoked["is_complete"] else " (at least: not all keys were looked at)"
        self.stdout.write(
            f"Revoked: the tokens of {revoked['users']} user(s), {revoked['tokens']} single"
            f" token(s){more}."
        )
        self._print_history(status["history"])

    def _print_history(self, history: dict[str, Any] | None) -> None:
        if history is None:
            self.stdout.write("History: nothing is kept.")
            return
        at_least = "" if history["is_complete"] else "at least "
        kept = history["kept"]
        self.stdout.write(
            f"History: {at_least}{history['streams']} stream(s) with messages; each keeps"
            f" {kept['seconds']} s, {kept['messages']} messages, {kept['max_bytes']} bytes."
        )


def _status() -> dict[str, Any]:
    processes = get_store().ask(Processes())
    states: list[tuple[str, ProcessState]] = []
    for start in range(0, len(processes), _PROCESSES):
        names = processes[start : start + _PROCESSES]
        states += zip(names, get_store().ask(Fleet(names)), strict=True)
    return {
        "processes": [
            {"process": name, "is_alive": state.is_alive, "connections": state.connections}
            for name, state in states
        ],
        "users_online": presence.online_count(),
        "revoked": _revoked(),
        "history": _history(),
    }


def _history() -> dict[str, Any] | None:
    """Count the streams with messages, on every shard; None where nothing is kept."""
    kept, hosts = limits(), getattr(channel_layer(), "hosts", None)
    if kept is None or hosts is None:
        return None
    deadline = time.monotonic() + _SECONDS
    counted = [_count_streams(server, deadline) for host in hosts for server in _servers(host)]
    return {
        "streams": sum(number for number, _ in counted),
        "is_complete": all(is_complete for _, is_complete in counted),
        "kept": kept._asdict(),
    }


def _servers(host: Host) -> list[Host]:
    try:
        return servers_of(host)
    except (RedisError, OSError) as error:
        raise CommandError(explain(error)) from error


def _count_streams(host: Host, deadline: float) -> tuple[int, bool]:
    """Return how many there are on a shard, and whether all of it was looked at."""
    cursor, number = "0", 0
    while time.monotonic() < deadline:
        replies = exchange({host: [scan(cursor, _KEYS)]}, host.timeout_seconds)[host]
        if isinstance(replies, Exception) or isinstance(replies[0], Exception):
            break
        [(found, keys)] = replies
        cursor, number = found.decode(), number + len(keys)
        if cursor == "0":
            return number, True
    return number, False


def _revoked() -> dict[str, Any]:
    deadline = time.monotonic() + _SECONDS
    cursor, users, tokens = "0", 0, 0
    while True:
        reply = get_store().ask(Revocations(cursor, _KEYS))
        cursor, users, tokens = reply.cursor, users + reply.users, tokens + reply.tokens
        if cursor == "0" or time.monotonic() > deadline:
            return {"users": users, "tokens": tokens, "is_complete": cursor == "0"}
