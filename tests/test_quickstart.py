"""The README's quickstart works: a new project is made of it, and served by daphne."""

import asyncio
import os
import re
import subprocess
import sys

import pytest

from tests.kit import ROOT, Daphne
from tests.test_readme import README

SETTINGS = """
DATABASES["default"]["NAME"] = BASE_DIR / "db.sqlite3"
SECRET_KEY = "a-secret-of-the-quickstart-0123456789-abcdef"
"""

FIELDS = re.compile(r"<!-- (file|snippet): (.+?) -->\n```python\n(.*?)```", re.S)
SNIPPETS = {name: code for _, name, code in FIELDS.findall(README)}


class QuickstartDaphne(Daphne):
    """daphne in the new project's folder."""

    application = "mysite.asgi:application"


@pytest.fixture
def run(tmp_path):
    """Run a Python command in the new project; return its output."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("DJANGO_SETTINGS_MODULE", None)

    def run(*args):
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=env, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def project(tmp_path, run):
    """A project made by Django's commands and the README's snippets."""
    run("-m", "django", "startproject", "mysite", ".")
    run("manage.py", "startapp", "people")
    redis_url = os.environ["REDIS_URL"]
    added = SNIPPETS["mysite/settings.py (added)"].replace("redis://127.0.0.1:6379", redis_url)
    with (tmp_path / "mysite/settings.py").open("a") as settings:
        settings.write(added + SETTINGS)
    (tmp_path / "people/models.py").write_text(SNIPPETS["people/models.py"])
    (tmp_path / "mysite/asgi.py").write_text(SNIPPETS["mysite/asgi.py"])
    run("manage.py", "makemigrations", "people")
    run("manage.py", "migrate")
    create = "from people.models import User; User.objects.create_user('alice')"
    run("manage.py", "shell", "-c", create)
    return tmp_path


async def test_quickstart(project, run):
    """The quickstart's project passes its checks, and a message arrives."""
    assert "no issues" in run("manage.py", "check")
    server = QuickstartDaphne(
        env={"DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONPATH": f"{ROOT}:{project}"}
    )
    try:
        await asyncio.to_thread(server.wait_until_ready)
        token = await asyncio.to_thread(run, "manage.py", "ws_token", "alice")
        client = {}
        exec(SNIPPETS["client"], client)
        listening = asyncio.create_task(client["listen"](server.ws, token))
        publish = ("manage.py", "ws_publish", "alice", '{"hello": "world"}')
        async with asyncio.timeout(60):
            # A session counts from when it is written, a moment after it can get messages.
            while "alice" not in await asyncio.to_thread(run, "manage.py", "ws_online"):
                assert not listening.done(), listening.result()
            assert "to 1 connection" in await asyncio.to_thread(run, *publish)
            assert await listening == {"hello": "world"}
    finally:
        print(server.log)
        server.stop()
