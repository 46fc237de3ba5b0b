"""A Sentinel failover to a replica that lacks the newest messages.

Run it: `python -m tests.benchmarks.failover`.

Debian's redis-server as primary, replica and sentinel. The replication link is cut, messages are
published, the primary is killed. Whoever has seen them must be told, on an open socket and when
resuming, although the new primary counts on with the same offsets.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from tests.benchmarks.drops import prepare


class Process:
    """One redis-server, or a sentinel."""

    def __init__(self, folder, port, *arguments):
        self.port = port
        self.client = redis.Redis(port=port, decode_responses=True)
        self._log = (Path(folder) / f"{port}.log").open("w")
        command = ["redis-server", *arguments, "--port", str(port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen([*command, "--dir", folder], stdout=self._log)
        for _ in range(200):
            with contextlib.suppress(redis.ConnectionError):
                if self.client.ping():
                    return
            time.sleep(0.05)
        raise RuntimeError(f"redis-server did not start: {folder}")

    def end(self):
        """Kill it."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


def wait_for(condition, seconds=30):
    """Wait until a condition holds; return after how many seconds it did."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(str(condition))
        time.sleep(0.02)
    return time.monotonic() - began


async def story(sentinel, primary, replica, link, user):
    """Publish, cut, publish, kill; return what the clients were told."""
    from bazis_ws_channels import publishing
    from bazis_ws_channels.exceptions import PublishError
    from tests.kit import Client, Daphne, until

    async def publish(value):
        try:
            await publishing.apublish([user], value)
        except PublishError:
            return False
        return True

    hosts = [{"master_name": "main", "sentinels": [["127.0.0.1", sentinel.port]]}]
    layers = {
        "default": {
            "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": hosts},
        }
    }
    from django.test import override_settings

    server = Daphne({"CHANNEL_LAYERS": layers})
    try:
        server.wait_until_ready()
        with override_settings(CHANNEL_LAYERS=layers):
            async with Client(server.ws, user.ws_token()) as client:
                start = (await client.subscribed())["position"]
                for n in range(5):
                    await publish(n)
                await asyncio.to_thread(wait_for, lambda: in_step(primary, replica))
                link.hold()
                link.hold("down")
                for n in ("lost", "lost too"):
                    await publish(n)
                last = [await client.receive_type("data") for _ in range(7)][-1]
                old = {**start, **last["position"]}
                began = time.monotonic()
                await asyncio.to_thread(primary.end)
                await until(lambda: replica.client.role()[0] == "master", 60)
                promoted = time.monotonic() - began
                for n in range(4):
                    await until(lambda n=n: publish(f"new {n}"), 60)
                missed = await client.receive_type("missed")
                told = time.monotonic() - began
                await publish("after")
                while (value := await client.data()) != "after":
                    assert str(value).startswith("new"), value
                more = [m["type"] for m in await client.settle()]
            async with Client(server.ws) as back:
                await back.send({"token": user.ws_token(), "since": old})
                recovered = (await back.subscribed())["recovered"]
            return {
                "promoted_after_seconds": round(promoted, 2),
                "told_missed_after_seconds": round(told, 2),
                "old_position": old["user"],
                "missed_position": missed["position"],
                "told_more": more,
                "resume_from_old_position_recovered": recovered,
                "tracebacks": server.tracebacks,
            }
    finally:
        server.stop()


def in_step(primary, replica):
    """Tell whether the replica has all that the primary has."""
    mine, other = primary.client.info("replication"), replica.client.info("replication")
    return (
        other["master_link_status"] == "up"
        and mine["master_repl_offset"] == other["master_repl_offset"]
    )


def main():
    """Do it once; exit 1 where it was silent."""
    from tests.kit import Proxy

    [user] = prepare(1)
    ports = random.sample(range(10_000, 30_000), 3)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        primary = Process(folder, ports[0], "--save", "")
        stack.callback(primary.end)
        link = stack.enter_context(Proxy(ports[0]))
        replica = Process(
            folder, ports[1], "--save", "", "--replicaof", "127.0.0.1", str(link.port)
        )
        stack.callback(replica.end)
        wait_for(lambda: in_step(primary, replica))
        config = Path(folder) / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {ports[0]} 1\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 5000\n"
        )
        sentinel = Process(folder, ports[2], str(config), "--sentinel")
        stack.callback(sentinel.end)
        wait_for(lambda: sentinel.client.sentinel_slaves("main"))
        figures = asyncio.run(story(sentinel, primary, replica, link, user))
    print(json.dumps(figures, indent=2))
    told = figures["resume_from_old_position_recovered"] is False
    return 0 if told and "missed" not in figures["told_more"] else 1


if __name__ == "__main__":
    sys.exit(main())
