"""Users are told apart whatever their primary keys look like."""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from bazis_ws_channels.groups import session_key, user_group, watch_group
from tests.kit import ROOT, Client, Daphne, until
from tests.presence.support import QUICK, keys
from tests.project.receivers import EDGES

TEXTS = [
    "plain",
    "with space",
    "a:b:c",
    "a/b",
    "../../etc",
    "😀🎉",
    "x" * 200,
    "x" * 199 + "y",
    "user_ws.1.session",
    "line\nbreak",
    "*",
    "{1}",
    "None",
    " ",
]
SNOWFLAKES = ["9007199254740992", "9007199254740993", "9223372036854775807", "7"]
UUIDS = ["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-4fff-bfff-ffffffffffff"]


class Identities:
    """The project of that name, with a database of its own."""

    def __init__(self, model, directory):
        self.env = {
            "DJANGO_SETTINGS_MODULE": "tests.presence.identities.settings",
            "IDENTITY": model,
            "IDENTITY_DATABASE": str(directory / "identities.sqlite3"),
        }

    async def run(self, command, *arguments):
        """Run one of its commands in a process; return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.presence.identities", command, json.dumps(arguments)),
            cwd=ROOT,
            env=os.environ | self.env,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(output)

    def server(self, settings):
        """Return a starting server process."""
        return Daphne(settings, self.env)


@pytest.mark.parametrize(
    ("model", "pks", "kind"),
    [
        ("TextUser", TEXTS, "str"),
        ("UuidUser", UUIDS, "UUID"),
        ("SnowflakeUser", SNOWFLAKES, "int"),
    ],
)
async def test_presence_by_any_primary_key(daphne, redis, tmp_path, model, pks, kind):
    """Online, watched, published to, told and forgotten: each user alone."""
    project = Identities(model, tmp_path)
    users = await project.run("make", *pks)
    assert [pk for pk, _, _ in users] == pks
    server = await sync_to_async(daphne)(project.server, **QUICK, BAZIS_WS_ID_AS_STRING=True)
    watcher_token, present = users[0][1], users[1::2]
    online = sorted(pk for pk, _, _ in present)
    async with AsyncExitStack() as stack:
        clients = []
        for pk, token, session in present:
            client = await stack.enter_async_context(Client(server.ws, token))
            assert (await client.subscribed())["user"] == pk
            assert redis.hlen(session) == 1
            clients.append(client)
        await clients[0].send({"type": "watch", "users": pks})
        frames = await clients[0].settle()
        assert [(each["user"], each["is_online"]) for each in frames] == [
            (pk, pk in online) for pk in pks
        ]
        seen = await project.run("read")
        assert seen["is_online"] == seen["last_seen"] == [pk in online for pk in pks]
        assert seen["online"] == seen["online_users"] == online
        assert seen["types"] == [kind]
        assert seen["published"] == [int(pk in online) for pk in pks]
        for (pk, _, _), client in zip(present, clients, strict=True):
            assert await client.data() == {"to": pk}
            assert [each for each in await client.settle() if each["type"] == "data"] == []
        async with Client(server.ws, watcher_token) as other:
            await other.subscribed()
            change = await clients[0].receive_type("presence")
            assert (change["user"], change["is_online"]) == (pks[0], True)
    await until(lambda: not keys(redis))
    told = [edge.partition(":") for edge in redis.lrange(EDGES, 0, -1)]
    for kind in ("online", "offline"):
        assert sorted(pk for name, _, pk in told if name == kind) == sorted([*online, pks[0]])


def test_names_are_as_documented_and_never_shared():
    """Plain keys read as they are; others are digests that no plain key can be."""
    assert user_group(5) == "user_ws.5"
    assert session_key(5) == "user_ws.5.session"
    for name in (user_group, watch_group, session_key):
        assert len({name(pk) for pk in TEXTS}) == len(TEXTS)
    for pk in TEXTS:
        assert len(user_group(pk)) < 100
        assert user_group(user_group(pk).removeprefix("user_ws.")) != user_group(pk) or pk in (
            "plain",
            "user_ws.1.session",
            "None",
        )


def test_an_unsaved_user_cannot_be_reached(django_user_model):
    """Publishing to it is an error, as it would reach nobody, or anybody."""
    with pytest.raises(ValueError, match="save it first"):
        django_user_model(username="new").ws_publish({})


async def test_a_deleted_user_is_offline(pair, alice, redis):
    """Also by its former primary key, and at once."""
    pk = alice.pk
    async with Client(pair[0].ws, alice.ws_token()) as client:
        await client.subscribed()
        await sync_to_async(alice.delete)()
        assert await client.closed() == 4401
    await until(lambda: not redis.exists(session_key(pk)))
    assert await presence.aonline([pk]) == set()
    redis.delete(f"user_ws.{pk}.revoked")
