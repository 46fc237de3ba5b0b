"""The pages of docs/ hold: links, names, tables and snippets are checked against the code."""

import asyncio
import functools
import gc
import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from bazis_ws_channels import auth
from bazis_ws_channels.consumers import UserWsConsumer
from bazis_ws_channels.middleware import JWTAuthMiddlewareStack
from bazis_ws_channels.presence.stores import encoding
from bazis_ws_channels.signals import user_offline, user_online
from tests import tables
from tests.kit import ROOT, until

PACKAGE = ROOT / "bazis_ws_channels"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda page: page.relative_to(ROOT)
)
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
SNIPPET = re.compile(r"<!-- snippet: (\S+) -->\n```python\n(.*?)```", re.S)


def page_of(name):
    """Return the text of a page."""
    return (ROOT / "docs" / name).read_text()


def snippets(name):
    """Return the Python snippets of a page, by name."""
    return dict(SNIPPET.findall(page_of(name)))


def anchors(page):
    """Return the anchors of a page's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.M)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


def section(text, name):
    """Return what stands between two markers."""
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.S)[1].strip()


def first_cells(table):
    """Return the first cells of a table's rows, without the head."""
    return re.findall(r"^\| `([^`]+)`", table, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    """Each relative link leads to a file, and to a heading in it."""
    for target in re.findall(r"\]\(([^)]+)\)", FENCED.sub("", page.read_text())):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_modules_of_the_architecture():
    """Its table has every module; `make tables` adds a row."""
    assert first_cells(section(page_of("architecture.md"), "modules")) == tables.modules()


def test_keys_of_presence():
    """The page names the keys that are written."""
    documented = first_cells(section(page_of("presence.md"), "keys"))
    assert documented == re.findall(r"^``(\S+)``", encoding.__doc__, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names(page):
    """Each `module:name` in a page exists in the package."""
    for module, name in re.findall(r"`([a-z_.]+):([A-Za-z_][\w.]*)`", page.read_text()):
        found = importlib.import_module(f"bazis_ws_channels.{module}")
        for part in name.split("."):
            found = getattr(found, part)


def test_version():
    """The package, its client and the changelog have one version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    client = json.loads((PACKAGE / "static/bazis_ws_channels/package.json").read_text())
    assert client["version"] == version
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_lua_files():
    """The Lua files that a page names are there."""
    files = {path.name for path in PACKAGE.rglob("*.lua")}
    for page in PAGES:
        assert set(re.findall(r"\b(\w+\.lua)\b", Path(page).read_text())) <= files


async def test_hand_written_client(daphne, alice):
    """The client of the protocol page gets messages, renews its token, and resumes."""
    namespace = {"__name__": "snippet"}
    exec(snippets("protocol.md")["client"], namespace)
    server, tokens, received, missed = daphne(), [], [], []

    async def get_token():
        tokens.append(alice.ws_token(2))
        return tokens[-1]

    async def handle(data):
        received.append(data)

    async def load():
        missed.append(True)

    async def arrives(data):
        # Published again until it has come: nobody else says when the client is back.
        await alice.ws_apublish(data)
        return data in received

    following = asyncio.create_task(namespace["follow"](server.ws, get_token, handle, load))
    try:
        await until(functools.partial(arrives, "first"))
        await until(lambda: len(tokens) >= 3)  # after two renewals
        await until(functools.partial(arrives, "renewed"))
        await alice.ws_adisconnect()  # closes with 4401: it comes back with another token
        await alice.ws_apublish("while away")
        await until(functools.partial(arrives, "again"))
    finally:
        following.cancel()
    assert not following.done() or following.cancelled()
    assert (received.count("while away"), missed) == (1, [])


# --- snippets -------------------------------------------------------------------------------

ALL_SNIPPETS = [
    (page.name, name)
    for page in PAGES
    if page.parent == ROOT / "docs"
    for name in snippets(page.name)
]


def run(page, name, **names):
    """Run a snippet; return what it defines."""
    namespace = {"__name__": "snippet", **names}
    exec(snippets(page)[name], namespace)
    return namespace


@pytest.mark.parametrize(("page", "name"), ALL_SNIPPETS)
def test_snippet(page, name):
    """A snippet is valid code in a project."""
    source = snippets(page)[name]
    if "class User(" in source:  # there is a user model already
        source = source.replace("AbstractUser)", "AbstractUser, metaclass=lambda *_: None)")
    exec(source, {"__name__": "snippet", "ShopConsumer": UserWsConsumer})
    gc.collect()  # receivers of signals, which nothing else holds


def test_watching():
    """The `ws_can_watch` of the page opens watching."""
    source = snippets("django.md")["watch"].replace("(UserWsMixin, AbstractUser)", "")
    namespace = {}
    exec(source, namespace)
    assert namespace["User"]().ws_can_watch([1, 2]) == [1, 2]


def test_receivers(capsys, alice):
    """The receivers of the page are called."""
    receivers = run("django.md", "signals")  # which holds them: signals don't
    now = timezone.now()
    for signal in (user_online, user_offline):
        signal.send(type(alice), user_id=alice.pk, user=alice, at=now)
    said = capsys.readouterr().out
    assert f"{alice.pk} is there since {now}" in said
    assert f"{alice.pk} went at {now}" in said
    del receivers
    gc.collect()


async def test_consumer(alice):
    """The consumer of the page answers its client, and hears the channel layer."""
    consumer = run("consumer.md", "consumer")["ShopConsumer"]
    route = run("consumer.md", "route", ShopConsumer=consumer)["websocket_urlpatterns"]
    application = JWTAuthMiddlewareStack(URLRouter(route))
    token = await sync_to_async(alice.ws_token)()
    client = WebsocketCommunicator(application, f"ws?token={token}")
    assert (await client.connect())[0]
    assert (await client.receive_json_from())["type"] == "subscribed"
    assert await client.receive_json_from() == {"type": "hello", "user": alice.pk}
    await client.send_json_to({"type": "typing", "order": 42})
    assert await client.receive_json_from() == {"type": "typing_noted", "user": alice.pk}
    await client.send_json_to({"type": "typing"})
    assert (await client.receive_json_from())["detail"] == "`order` must be a number."
    event = {"type": "order.shipped", "number": 42}
    await get_channel_layer().group_send(alice.user_channel, event)
    assert await client.receive_json_from() == {"type": "order", "number": 42}
    await client.disconnect()


def test_token_view(rf, alice):
    """The view of the page returns a token to those who are signed in."""
    view = run("tokens.md", "view")["token"]
    request = rf.post("/api/token/")
    request.user = AnonymousUser()
    assert view(request).status_code == 401
    request.user = alice
    assert auth.user_from_token(json.loads(view(request).content)["token"]) == alice


def test_token_for_a_password(rf, alice):
    """The other view of the page returns one for a password, whatever cookies come."""
    alice.set_password("wonderland")
    alice.save()
    view = run("tokens.md", "password")["token_for_password"]
    right = {"username": alice.username, "password": "wonderland"}
    token = json.loads(view(rf.post("/", right)).content)["token"]
    assert auth.user_from_token(token) == alice
    for wrong in ({}, {**right, "password": "looking-glass"}, {**right, "username": "bob"}):
        assert view(rf.post("/", wrong)).status_code == 401
    assert view(rf.get("/", right)).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_anonymous_view(rf, ws_outbox):
    """The view of the page answers a visitor, and nobody else."""
    view = run("tokens.md", "anonymous")["quote"]
    for wrong in ({}, {"visitor": "short"}, {"visitor": "a.jwt.that-is-long-enough"}):
        assert view(rf.post("/quote/", wrong)).status_code == 400
    assert ws_outbox == []
    assert view(rf.post("/quote/", {"visitor": "0123456789abcdef"})).status_code == 200
    ws_outbox.assert_published_anonymous("0123456789abcdef", {"step": "received"})


def test_simple_jwt(settings, alice):
    """The settings of the page accept Simple JWT's tokens."""
    for name, value in run("tokens.md", "simple_jwt").items():
        if name.startswith("BAZIS_"):
            setattr(settings, name, value)
    from rest_framework_simplejwt.tokens import AccessToken

    assert auth.user_from_token(str(AccessToken.for_user(alice))) == alice


# --- configuration files --------------------------------------------------------------------

FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.S)


def file_of(page, name):
    """Return a file that a page shows."""
    return dict(FILE.findall(page_of(page)))[name]


def test_spaces():
    """The page's module for tenants is the one that `tests/places/test_tenants.py` tries."""
    tried = (ROOT / "tests/places/tenants/spaces.py").read_text()
    assert tried.endswith(file_of("django.md", "mysite/spaces.py"))
