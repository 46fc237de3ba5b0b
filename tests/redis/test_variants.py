"""Each row of the table in docs/deployment.md: a whole life on that kind of Redis."""

import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async

from bazis_ws_channels import presence
from bazis_ws_channels.presence.stores import base, encoding
from bazis_ws_channels.redis.blocking import exchange
from bazis_ws_channels.redis.hosts import Host
from tests.kit import ROOT, until
from tests.kit.redis_binary import BinaryRedis, binaries
from tests.presence.support import QUICK, open_all
from tests.presence.test_store import QUESTIONS

ODD = "p@ss:w/ord?#%&= ü"
PACKAGE = ROOT / "bazis_ws_channels"
#: What the code sends beside presence's questions.
PLAIN = {
    *("eval", "evalsha", "ping", "publish", "subscribe", "unsubscribe", "psubscribe", "role"),
    *("get", "set"),  # what a call with an idempotency key returned
}


async def live(daphne, use, host, users):
    """Sign in, watch, publish both ways, log out, leave."""
    alice, bob = users
    use(host)
    layers = {"hosts": [host]}
    backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
    layers = {"default": {"BACKEND": backend, "CONFIG": layers}}
    server = await sync_to_async(daphne)(CHANNEL_LAYERS=layers, **QUICK)
    async with AsyncExitStack() as stack:
        first, second = await open_all(stack, [(server, alice), (server, bob)])
        assert await first.watch(bob) == [True]
        assert await alice.ws_apublish("async") == 1
        assert await sync_to_async(alice.ws_publish)("sync") == 1
        assert [await first.data() for _ in range(2)] == ["async", "sync"]
        assert await sync_to_async(presence.online_users)() == {alice.pk, bob.pk}
        await sync_to_async(bob.ws_disconnect)()
        assert await second.closed() == 4401
        assert not (await first.receive_type("presence"))["is_online"]
    await until(sync_to_async(lambda: presence.online_users() == set()))
    assert server.tracebacks == 0
    assert "ERROR" not in server.log


@pytest.fixture
def users(alice, bob):
    """Two of them."""
    return alice, bob


@pytest.mark.parametrize("name", binaries())
async def test_versions(daphne, use, users, name):
    """Those that this machine has."""
    with BinaryRedis(binaries()[name]) as server:
        await live(daphne, use, f"redis://127.0.0.1:{server.port}", users)


@pytest.fixture
def path():
    """The newest server."""
    return next(iter(binaries().values()))


async def test_a_unix_socket(daphne, use, users, path):
    """By its URL."""
    with BinaryRedis(path) as server:
        await live(daphne, use, f"unix://{server.socket}", users)


async def test_an_odd_password(daphne, use, users, path):
    """Quoted in a URL."""
    with BinaryRedis(path, "--requirepass", ODD) as server:
        await live(daphne, use, f"redis://:{quote(ODD, safe='')}@127.0.0.1:{server.port}", users)


async def test_a_database_number(daphne, use, users, path):
    """Presence is in it; pub/sub knows none."""
    with BinaryRedis(path) as server:
        await live(daphne, use, f"redis://127.0.0.1:{server.port}/3", users)


async def test_tls(daphne, use, users, tmp_path):
    """With the server's certificate checked."""
    with BinaryRedis(certified(tmp_path), tls=tmp_path) as server:
        address = f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={tmp_path}/cert.pem"
        await live(daphne, use, address, users)


def certified(folder):
    """Make a certificate in a folder; return the path of a server that is built with TLS."""
    redis_server = shutil.which("redis-server")
    assert redis_server, "needs Debian's redis-server, which is built with TLS"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files += ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*request, *files], check=True, capture_output=True)
    return redis_server


def documented():
    """Return the rule of the user in docs/deployment.md."""
    text = (ROOT / "docs" / "deployment.md").read_text()
    return re.search(r"^ACL SETUSER app (.*)$", text, re.MULTILINE)[1].split()


def needed():
    """Return the commands that the code sends, or calls in its scripts."""
    scripts = "".join(path.read_text() for path in PACKAGE.rglob("*.lua"))
    calls = {name.lower() for name in re.findall(r"redis\.p?call\('(\w+)'", scripts)}
    commands = (encoding.encode(question, ["q"]).parts[0].lower() for question in QUESTIONS)
    return calls | set(commands) | PLAIN


def test_the_documented_rights_are_those_that_are_needed():
    """None is missing, none is too many."""
    assert {part[1:] for part in documented() if part.startswith("+")} == needed()


async def test_a_user_with_the_documented_rights(daphne, use, users, path):
    """Lives a whole life, and may touch nothing else."""
    with BinaryRedis(path) as server:
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "app", *documented())
            admin.execute_command("ACL", "SETUSER", "default", "off")
        await live(daphne, use, f"redis://app:secret@127.0.0.1:{server.port}", users)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_scripts_touch_declared_keys_only(valkey, question):
    """As a Cluster and Dragonfly ask: a user who may touch no other key runs them all."""
    filled = fill(valkey)
    command = encoding.encode(question, ["p", "q"])
    if command.script is None:
        keys = [part for part in command.parts[1:] if "user_ws." in str(part)]
    else:
        keys = command.parts[3 : 3 + command.parts[2]]
    rule = ["on", ">x", "+@all", "&*", "resetkeys", *(f"~{key}" for key in keys)]
    valkey.client.execute_command("ACL", "SETUSER", "narrow", *rule)
    host = Host({"address": valkey.url.replace("//", "//narrow:x@")})
    [reply] = exchange({host: [command]}, 3)[host]
    assert not isinstance(reply, Exception), reply
    assert filled


def fill(valkey):
    """Let two processes live, with users, departures, changes to tell and revocations."""
    host = Host({"address": valkey.url})
    records = [("c1", "1"), ("c2", "2")]
    story = [
        base.Register("p", 10_000),
        base.Register("q", 10_000),
        base.Connect("p", "c1", "1", 50, base.Token(age_us=0)),
        base.Connect("q", "c2", "2", 50, base.Token(age_us=0)),
        base.Disconnect("q", 0, 10**12, None, records[1:]),
        base.RevokeBefore("1", 1, 60),
    ]
    known = []
    for question in story:
        [reply] = exchange({host: [encoding.encode(question, known)]}, 3)[host]
        assert not isinstance(reply, Exception), reply
        if isinstance(question, base.Register):
            known.append(question.process)
    return True
