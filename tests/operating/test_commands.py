"""`ws_status` and `ws_listen`, as an operator uses them."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.core.management.base import CommandError

from bazis_ws_channels import auth
from bazis_ws_channels.publishing import abroadcast
from tests.kit import ROOT, Client, manage, until
from tests.replay.dropping import Load


async def test_status(daphne, alice, bob):
    """Processes with their sessions, who is online, what is revoked."""
    servers = [await asyncio.to_thread(daphne) for _ in range(2)]
    async with (
        Client(servers[0].ws, alice.ws_token()) as first,
        Client(servers[0].ws, bob.ws_token()) as second,
        Client(servers[1].ws, alice.ws_token()) as third,
    ):
        for client in (first, second, third):
            await client.subscribed()
        await auth.arevoke_token(bob.ws_token())
        await alice.ws_adisconnect()
        await first.closed()
        await third.closed()

        async def sessions():
            status = json.loads(await asyncio.to_thread(manage, "ws_status", "--json"))
            found = sorted(each["connections"] for each in status["processes"])
            return status if sum(found) == 1 else None

        status = await until(sessions)
        assert all(each["is_alive"] for each in status["processes"])
        assert status["users_online"] == 1
        assert status["revoked"] == {"users": 1, "tokens": 1, "is_complete": True}
        assert status["history"]["streams"] == 0
        await bob.ws_apublish("kept")
        text = await asyncio.to_thread(manage, "ws_status")
        assert "History: 1 stream(s) with messages; each keeps 300 s, 100 messages" in text
        assert "1 session(s), 1 user(s) online." in text
        assert "Revoked: the tokens of 1 user(s), 1 single token(s)." in text


async def test_status_under_load(daphne, make_user):
    """Exactly what is there, while messages are published to all of it; who is there waits for
    nothing meanwhile."""
    users = [await sync_to_async(make_user)(f"user{n}") for n in range(25)]
    servers = [await asyncio.to_thread(daphne) for _ in range(2)]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(server.ws, user.ws_token()))
            for user in users for server in servers
        ]  # fmt: skip
        for client in clients:
            await client.subscribed()
        load = Load(users, 10)
        publishing = asyncio.create_task(load.run(3))
        await until(lambda: load.published[None])
        status = json.loads(await asyncio.to_thread(manage, "ws_status", "--json"))
        assert [each["connections"] for each in status["processes"]] == [len(users)] * 2
        assert status["users_online"] == len(users)
        assert status["history"]["streams"] == len(users) + 1
        await publishing
        for client, user in zip(clients, [user for user in users for _ in servers], strict=True):
            due = [number for key in (user.pk, None) for number, _ in load.published[key]]
            assert sorted([await client.data() for _ in due]) == sorted(due)


def test_status_of_nothing():
    """No process, nobody."""
    assert "0 process(es), 0 session(s), 0 user(s) online." in manage("ws_status")


def test_status_without_redis():
    """Says that it is not there; and that there is none."""
    gone = {"default": {"BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
                        "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}}  # fmt: skip
    assert "CommandError" in manage("ws_status", check=False, CHANNEL_LAYERS=gone)
    memory = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    message = manage("ws_status", check=False, CHANNEL_LAYERS=memory)
    assert "BAZIS_WS_REDIS_URL" in message
    assert "Traceback" not in message


async def test_listen(alice, bob):
    """Prints what the user gets, and is nobody online."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "django", "ws_listen", "alice", "--count", "3"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(60):
        assert b"Listening to what is published to alice" in await process.stderr.readline()
        assert await alice.ws_apublish({"name": "Zoë"}) == 0
        await bob.ws_apublish("not for alice")
        await alice.ws_adisconnect()
        await abroadcast([1])
        await alice.ws_apublish(None)
        output, errors = await process.communicate()
    assert output.decode().splitlines() == ['{"name": "Zoë"}', "[1]", "null"]
    assert b"(The server ends sessions: logged_out.)" in errors
    assert process.returncode == 0


def test_listen_where_nothing_can_be_heard(settings, alice):
    """Says so at once, and who there is not."""
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("ws_listen", "nobody")
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with pytest.raises(CommandError, match="in-memory"):
        call_command("ws_listen", "alice")
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
        }
    }
    with pytest.raises(CommandError, match="Redis did not confirm"):
        call_command("ws_listen", "alice")
