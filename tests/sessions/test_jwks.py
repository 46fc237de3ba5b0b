"""Keys from the URL of an identity provider, all the way to a session."""

import os
import subprocess
import sys

from bazis_ws_channels.testing import WsClient
from tests.kit import ROOT
from tests.sessions.provider import token_by


async def test_a_session_is_opened(provider, remote_keys, alice):
    """All the way."""
    async with WsClient(token=token_by("first")) as client:
        assert client.subscribed["user"] == alice.pk


def test_in_settings(provider, tmp_path):
    """It can be written in a settings module, as docs/tokens.md does."""
    from tests.test_docs import snippets

    url = "https://id.example.com/.well-known/jwks.json"
    source = snippets("tokens.md")["jwks"].replace(url, provider.url)
    (tmp_path / "their_settings.py").write_text(f"from tests.settings import *\n{source}")
    code = (
        "import django; django.setup()\n"
        "from bazis_ws_channels.auth import tokens\n"
        f"print(tokens.verify({token_by('first')!r}).user)\n"
        "from django.core.management import call_command; call_command('check')"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "their_settings",
           "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "alice" in done.stdout
    assert "no issues" in done.stdout


async def test_a_provider_that_is_down_at_the_start(provider, remote_keys, alice):
    """The client is told that the server failed: it comes back, and keeps its token."""
    provider.status = 503
    async with WsClient(token=token_by("first")) as client:
        assert (await client.receive("error"))["code"] == "internal_error"
        assert await client.wait_closed() == 4500
