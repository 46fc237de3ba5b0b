"""The tests' tools: one of each kind, for all suites.

Nothing in here imports Django: `tests.environment` uses it before there are settings.

| what | from |
| --- | --- |
| a server process that listens on port 0 and is asked for its port | `servers`, `processes` |
| a Redis of a test's own, to be stopped, killed, restarted, paused | `redis` |
| Redis Sentinel: two servers and three sentinels | `sentinel` |
| a server in a thread of the test's process | `threads` |
| a TCP proxy: cut, reset, go silent, hold in either direction | `proxy` |
| a WebSocket client that reads JSON, async or sync | `clients` |
| a bare socket for frames that no client library would send | `raw` |
| a management command, a page over HTTP | `commands` |
| headless Chromium | `browser` |
| wait for a condition; a clock to move, and an event loop's | `waiting` |
"""

from tests.kit.clients import Client, Conversation, SyncClient
from tests.kit.commands import fetch, manage
from tests.kit.processes import ROOT, Server
from tests.kit.proxy import DOWN, UP, Proxy
from tests.kit.raw import RawSocket
from tests.kit.redis import Redis, channel_layers
from tests.kit.sentinel import Sentinels
from tests.kit.servers import CeleryWorker, Daphne, Gunicorn, Uvicorn
from tests.kit.threads import Threaded
from tests.kit.waiting import PATIENCE_SECONDS, Clock, move_clock, until, wait_until

__all__ = [
    "DOWN",
    "PATIENCE_SECONDS",
    "ROOT",
    "UP",
    "CeleryWorker",
    "Client",
    "Clock",
    "Conversation",
    "Daphne",
    "Gunicorn",
    "Proxy",
    "RawSocket",
    "Redis",
    "Sentinels",
    "Server",
    "SyncClient",
    "Threaded",
    "Uvicorn",
    "channel_layers",
    "fetch",
    "manage",
    "move_clock",
    "until",
    "wait_until",
]
