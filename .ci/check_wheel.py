"""Check what a wheel holds, and that it works in a project outside the repository."""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

NEEDED = [
    "bazis_ws_channels/py.typed",
    "bazis_ws_channels/static/bazis_ws_channels/client.d.ts",
    "bazis_ws_channels/static/bazis_ws_channels/client.js",
    "bazis_ws_channels/static/bazis_ws_channels/package.json",
    "bazis_ws_channels/management/commands/ws_publish.py",
    "bazis_ws_channels/pytest_plugin.py",
    "bazis_ws_channels/testing/__init__.py",
    "bazis_ws_channels/management/commands/ws_token.py",
    "bazis_ws_channels/presence/stores/lua/connect.lua",
]
UNWANTED = ("tests/", "demo/", "manage.py")

PROJECT = """
import django
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="a-secret-for-a-check-of-the-wheel-0123456789",
    INSTALLED_APPS=["daphne", "django.contrib.auth", "django.contrib.contenttypes", "channels",
                    "rest_framework", "bazis_ws_channels", "people"],
    AUTH_USER_MODEL="people.User",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

import asyncio

from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.core.management import call_command
from people.models import User

from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.routing import websocket_urlpatterns

call_command("check")
call_command("migrate", run_syncdb=True, verbosity=0)
user = User.objects.create_user("ann")


async def main():
    application = JWTAuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    token = await sync_to_async(user.ws_token)()
    client = WebsocketCommunicator(application, f"/ws?token={token}")
    assert (await client.connect())[0]
    assert (await client.receive_json_from())["type"] == "subscribed"
    assert await user.ws_apublish({"hello": "wheel"}) == 1
    assert await client.receive_json_from() == {"type": "data", "data": {"hello": "wheel"}}
    await client.disconnect()


asyncio.run(main())
print("the wheel works")
"""

MODELS = """
from django.contrib.auth.models import AbstractUser

from bazis_ws_channels.models import UserWsMixin


class User(UserWsMixin, AbstractUser):
    pass
"""


def check_content(wheel: Path) -> None:
    """Fail if something is missing from the wheel, or should not be in it."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NEEDED if name not in names]
    unwanted = [name for name in names if name.startswith(UNWANTED)]
    if missing or unwanted:
        sys.exit(f"wheel: missing {missing}, unwanted {unwanted}")


def check_use(wheel: Path) -> None:
    """Install the wheel into an empty environment and use it there."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder, "venv"), with_pip=True)
        python = Path(folder, "venv/bin/python")
        subprocess.run([python, "-m", "pip", "install", "-q", wheel.resolve()], check=True)
        people = Path(folder, "people")
        people.mkdir()
        Path(people, "__init__.py").touch()
        Path(people, "models.py").write_text(MODELS)
        Path(folder, "project.py").write_text(PROJECT)
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run([python, "project.py"], cwd=folder, env=env, check=True)


if __name__ == "__main__":
    check_content(Path(sys.argv[1]))
    check_use(Path(sys.argv[1]))
