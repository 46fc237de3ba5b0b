"""django-tenants on PostgreSQL: the users 1 of two tenants are two users."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from asgiref.sync import sync_to_async
from websockets.exceptions import InvalidStatus

from tests.kit import Client, Daphne, fetch
from tests.kit.postgres import Postgres
from tests.sessions.forging import sign

pytestmark = pytest.mark.places


class TenantsDaphne(Daphne):
    """daphne with the tenants' project."""

    application = "tests.places.tenants.asgi:application"


@pytest.fixture
def project(run):
    """Run one of the project's commands: ``project("publish", "a")``; `env` and `tokens` too."""
    with Postgres() as postgres:
        env = {
            "DJANGO_SETTINGS_MODULE": "tests.places.tenants.settings",
            "TENANTS_PORT": str(postgres.port),
        }

        def project(*arguments):
            return json.loads(run("tests.places.tenants", *arguments, env=env))

        project.env = env
        project.tokens = project("make")
        yield project


@pytest.fixture
def server(project):
    """A server of all tenants."""
    with TenantsDaphne(env=project.env) as server:
        yield server


async def test_sign_ins_of_several_tenants_at_once(project, server):
    """They share turns and a thread; each user is looked up in the tenant of the handshake."""
    names = ["a0", "b0", "a1", "b1"] * 10
    async with AsyncExitStack() as stack:
        clients = [
            Client(
                f"ws://{name[0]}.localhost:{server.port}/ws",
                sign(name),
                host="127.0.0.1",
                port=server.port,
            )
            for name in names
        ]
        await asyncio.gather(*map(stack.enter_async_context, clients))
        users = [(await client.subscribed())["user"] for client in clients]
        assert users == [1 if name.endswith("0") else 2 for name in names]
        url = f"ws://b.localhost:{server.port}/ws"
        async with Client(url, sign("a0"), host="127.0.0.1", port=server.port) as stranger:
            assert (await stranger.receive())["code"] == "user_not_found"
    assert server.tracebacks == 0


async def test_tenants_have_nothing_in_common(project, server):
    """Neither messages nor broadcasts, presence, watches nor endings."""
    ask = sync_to_async(project, thread_sensitive=False)

    def page(tenant, data):
        url = f"{server.http}/publish/{data}/"
        return json.loads(fetch(url, headers={"Host": f"{tenant}.localhost"}))

    async with AsyncExitStack() as stack:
        clients = {}
        for tenant in ("a", "b"):
            url = f"ws://{tenant}.localhost:{server.port}/ws"
            client = Client(url, project.tokens[tenant][0], host="127.0.0.1", port=server.port)
            clients[tenant] = await stack.enter_async_context(client)
            assert (await client.subscribed())["user"] == 1
        a, b = clients["a"], clients["b"]

        assert await ask("publish", "a") == 1
        assert [await a.data(), await a.data()] == [{"to": "a"}, {"all": "a"}]
        await ask("publish_later", "a")
        assert await a.data() == {"later": "a"}
        # Async views: twice in turns, for a thread's connection remembers its last tenant.
        for number in range(2):
            assert await asyncio.to_thread(page, "a", number) == {"count": 1, "online": [1]}
            assert [await a.data(), await a.data()] == [
                {"async": f"{number}"},
                {"all": f"{number}"},
            ]
            assert await asyncio.to_thread(page, "b", number) == {"count": 1, "online": [1]}
            assert [await b.data(), await b.data()] == [
                {"async": f"{number}"},
                {"all": f"{number}"},
            ]
        assert await b.settle() == await a.settle() == []

        await a.send({"type": "watch", "users": [2]})
        assert (await a.receive_type("presence"))["is_online"] is False
        url = f"ws://b.localhost:{server.port}/ws"
        async with Client(url, project.tokens["b"][1], host="127.0.0.1", port=server.port) as b2:
            assert (await b2.subscribed())["user"] == 2
            assert await ask("online", "a") == [[1], [1], 1, [True, False]]
            assert await ask("online", "b") == [[1, 2], [1, 2], 2, [True, True]]
            assert await a.settle() == []
        url = f"ws://a.localhost:{server.port}/ws"
        async with Client(url, project.tokens["a"][1], host="127.0.0.1", port=server.port) as a2:
            await a2.subscribed()
            assert (await a.receive_type("presence"))["is_online"] is True

        url = f"ws://nobody.localhost:{server.port}/ws"
        stranger = Client(url, project.tokens["b"][0], host="127.0.0.1", port=server.port)
        with pytest.raises(InvalidStatus, match="403"):
            await stranger.__aenter__()

        await ask("password", "b")
        assert await b.closed() == 4401
        assert await ask("publish", "a") == 1
        assert [await a.data(), await a.data()] == [{"to": "a"}, {"all": "a"}]
    assert server.tracebacks == 0
