"""Sync code publishes without an event loop or a thread: fork-safe, silent at exit."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
import redis
from asgiref.sync import async_to_sync
from channels_redis.pubsub import RedisPubSubChannelLayer as Original

from bazis_ws_channels import publishing
from tests.kit import ROOT, until


def run(source, valkey, warnings="always::ResourceWarning"):
    """Run a program in a process of its own; return what it printed, which is no warning."""
    layers = json.dumps({"CHANNEL_LAYERS": valkey.channel_layers})
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_SETTINGS": layers}
    command = [sys.executable, "-W", warnings, "-c", source]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def run_forking(source, valkey):
    """The same without warnings: of forks at all, and of sockets that a child doesn't close."""
    return run(source, valkey, warnings="ignore")


START = """
import django, os, sys, threading, time
django.setup()
from bazis_ws_channels import publishing
def threads():
    return sorted(each.name for each in threading.enumerate())
"""


def connections_received(valkey):
    """Return how many connections the server ever accepted."""
    return valkey.client.info("stats")["total_connections_received"]


def test_a_hundred_calls_need_no_new_connection(valkey, settings):
    """`async_to_sync`, as in the Channels tutorial, makes one for each."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    publishing.broadcast(0)
    before = connections_received(valkey)
    for n in range(100):
        publishing.broadcast(n)
    assert connections_received(valkey) == before
    layer = Original(hosts=[valkey.url])
    for n in range(10):
        async_to_sync(layer.group_send)("g", {"type": "x", "n": n})
    assert connections_received(valkey) == before + 10


def test_a_process_publishes_over_one_connection_and_no_thread(valkey):
    """Counting a user's connections takes no other."""
    before = connections_received(valkey)
    printed = run(
        f"""{START}
for n in range(50):
    publishing.broadcast(n)
print(threads())
for n in range(50):
    publishing.publish([1, 2], n)
print(threads())
""",
        valkey,
    )
    assert printed.splitlines() == ["['MainThread']"] * 2
    assert connections_received(valkey) - before <= 1


async def test_a_process_that_published_ends_at_once_and_in_silence(valkey):
    """No thread, no connection is left, nothing is warned of."""
    last = "import atexit; atexit.register(lambda: print(threads()))"
    printed = await asyncio.to_thread(run, f"{last}{START}publishing.publish([1], 1)", valkey)
    assert printed.strip() == "['MainThread']"
    await until(lambda: not valkey.clients())


@pytest.mark.parametrize("how", ["atexit", "thread"])
def test_publishing_while_the_process_ends(valkey, how):
    """From somebody's exit handler, or a thread that is still at it."""
    late = {
        "atexit": "import atexit; atexit.register(lambda: publishing.broadcast(2))",
        "thread": "threading.Thread(target=lambda: [publishing.broadcast(n) for n in range(300)])"
        ".start()",
    }
    run(f"{START}{late[how]}\npublishing.broadcast(1)", valkey)


def test_a_child_publishes_after_a_fork_as_its_parent_does(valkey):
    """Each over its own connection, at the same time."""
    with redis.Redis.from_url(valkey.url).pubsub() as pubsub:  # of bytes
        pubsub.subscribe("asgi__group__common")
        pubsub.get_message(timeout=5)
        printed = run_forking(
            f"""{START}
publishing.broadcast("before")
child = os.fork()
name = "parent" if child else "child"
for n in range(200):
    publishing.broadcast([name, n])
if child:
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), threads())
else:
    sys.exit(0 if threads() == ['MainThread'] else 1)
""",
            valkey,
        )
        assert printed.strip() == "0 ['MainThread']"
        texts = [pubsub.get_message(timeout=5)["data"] for _ in range(401)]
    for name in ("parent", "child"):
        numbers = [n for text in texts for n in range(200) if f'["{name}", {n}]'.encode() in text]
        assert numbers == list(range(200))


def test_a_fork_in_the_middle_of_publishing(valkey):
    """Other threads hold whatever they hold when it happens."""
    printed = run_forking(
        f"""{START}
stop = threading.Event()
def publish():
    while not stop.is_set():
        publishing.broadcast(1)
publishing.broadcast("before")  # or a child may inherit a lock of `import`
others = [threading.Thread(target=publish) for _ in range(4)]
for other in others:
    other.start()
codes = set()
for _ in range(20):
    child = os.fork()
    if not child:
        publishing.broadcast("child")
        os._exit(0)
    codes.add(os.waitpid(child, 0)[1])
stop.set()
for other in others:
    other.join()
publishing.broadcast("after")
print(codes)
""",
        valkey,
    )
    assert printed.strip() == "{0}"


def test_a_fork_of_a_fork(valkey):
    """As a preloading server's worker may start a helper."""
    printed = run_forking(
        f"""{START}
publishing.broadcast(0)
for _ in range(3):
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    publishing.publish([1], 1)
os.write(1, b"last")
""",
        valkey,
    )
    assert printed == "last"
