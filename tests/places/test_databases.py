"""``on_commit``: after the commit of the database that the user came from, or that is named. And
what a process with sockets does to its connections.
"""

import asyncio

import dj_database_url
import psycopg
import pytest
from asgiref.sync import sync_to_async

from tests.kit import Client, fetch, manage
from tests.kit.postgres import Postgres
from tests.sessions.forging import sign


def test_the_transaction_is_that_of_the_user_s_database(run, published, tmp_path):
    """What was rolled back there is not published, nor is anybody's session ended."""
    databases = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tmp_path}/default"},
        "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tmp_path}/other"},
    }
    run("tests.places.two_databases", DATABASES=databases)
    kinds = ("rolled back", "committed", "rolled async", "done async", "logged_out")
    assert published.take(*kinds) == [0, 5, 0, 4, 0]


USERS = """
from django.contrib.auth import get_user_model
model = get_user_model()
model.objects.bulk_create(model(username=f"user{n}") for n in range(200))
"""


@pytest.fixture
def postgres():
    """A server of the test's own."""
    with Postgres() as postgres:
        yield postgres


@pytest.mark.places
async def test_pages_of_a_process_with_sockets_leave_no_connection_open(daphne, postgres):
    """Under ASGI each request has a thread of its own, and a connection, which CONN_MAX_AGE keeps
    for nobody: Python's garbage collector, calmed by the first socket, would close it much later.
    """
    url = postgres.create("site")
    databases = {"default": dj_database_url.parse(url, conn_max_age=60)}
    await asyncio.to_thread(manage, "migrate", DATABASES=databases)
    await asyncio.to_thread(manage, "shell", "--no-imports", "-c", USERS, DATABASES=databases)
    server = await sync_to_async(daphne)(DATABASES=databases)

    def ask():
        for _ in range(250):
            fetch(f"{server.http}/online/")
        with psycopg.connect(url) as own:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            return own.execute(count).fetchone()[0] - 1

    async with Client(server.ws) as client:
        await client.settle()
        assert await asyncio.to_thread(ask) <= 5
    assert server.tracebacks == 0


@pytest.mark.places
async def test_a_database_that_was_restarted_costs_no_sign_in(daphne, postgres):
    """The connections that sign-ins keep have died with it."""
    url = postgres.create("restarted")
    databases = {"default": dj_database_url.parse(url)}
    await asyncio.to_thread(manage, "migrate", DATABASES=databases)
    await asyncio.to_thread(manage, "shell", "--no-imports", "-c", USERS, DATABASES=databases)
    server = await sync_to_async(daphne)(DATABASES=databases)
    async with Client(server.ws, sign("user1")) as client:
        await client.subscribed()
    with psycopg.connect(url, autocommit=True) as own:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        assert own.execute(ends).fetchall()
    async with Client(server.ws, sign("user2")) as client:
        await client.subscribed()
    assert server.tracebacks == 0
