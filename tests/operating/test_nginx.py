"""The nginx and the units of docs/deployment.md, at work before one process or none."""

import asyncio
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from asgiref.sync import sync_to_async
from websockets.exceptions import InvalidStatus

from tests.kit import Client, Redis, nginx, until, wait_until
from tests.kit.processes import START_SECONDS
from tests.operating.deployment import FILES, Front, Systemd, django_settings, rolling_restart

needs_nginx = pytest.mark.skipif(not nginx.is_installed, reason="needs Debian's nginx")


@pytest.fixture
def start_front():
    """Start nginx before a server: ``start_front(server)``; it ends with the test."""
    fronts = []

    def start(server):
        fronts.append(Front(upstream=f"127.0.0.1:{server.port}"))
        fronts[-1].wait_until_ready()
        return fronts[-1]

    yield start
    for front in fronts:
        front.stop()
        print(front.log)


@pytest.fixture
def site(daphne, start_front):
    """A process with the page's settings, and nginx before it."""
    return start_front(daphne(**django_settings()))


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Don't follow."""

    def redirect_request(self, *args):
        """Answer with the redirect itself."""


def get(url, context=None, headers=()):
    """Return the status and the headers of a page."""
    handlers = [NoRedirect, *([urllib.request.HTTPSHandler(context=context)] if context else [])]
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=20) as page:
            return page.status, page.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


@needs_nginx
def test_pages(site):
    """Over TLS; without, one is sent there; what is for Prometheus alone isn't shown."""
    assert get(f"{site.https}/health", site.context)[0] == 200
    assert get(f"{site.https}/metrics", site.context)[0] == 404
    status, headers = get(
        f"http://127.0.0.1:{site.redirect_port}/page?x=1", headers={"Host": "example.com"}
    )
    assert (status, headers["Location"]) == (301, "https://example.com/page?x=1")


@needs_nginx
async def test_a_cookie_signs_in_the_page_of_this_very_site(site, alice):
    """Its scheme and port come through the proxy; another scheme is another site."""
    login = urllib.request.Request(
        f"{site.https}/login/", b'{"username": "alice", "password": "demo"}'
    )

    def log_in():
        with urllib.request.urlopen(login, context=site.context) as answer:
            return answer.headers["Set-Cookie"].partition(";")[0]

    headers = {"Cookie": await asyncio.to_thread(log_in)}
    options = {"ssl": site.context, "additional_headers": headers}
    async with Client(site.wss, origin=site.https, **options) as client:
        assert (await client.subscribed())["user"] == alice.pk
    with pytest.raises(InvalidStatus, match="403"):
        await Client(site.wss, origin=site.https.replace("https:", "http:"), **options).__aenter__()


@needs_nginx
async def test_the_address_of_clients_is_what_nginx_saw(daphne, start_front):
    """Not what they say: the limit by address counts them together."""
    settings = {**django_settings(), "BAZIS_WS_MAX_UNAUTHENTICATED_BY_ADDRESS": 1}
    front = await sync_to_async(lambda: start_front(daphne(**settings)))()

    def client(address):
        return Client(front.ws, additional_headers={"X-Forwarded-For": address})

    async with client("192.0.2.1") as first:
        assert await first.settle() == []  # it is the one that has waited longest
        async with client("192.0.2.2") as second:
            assert await first.closed() == 4429
            assert first.seen[-1]["code"] == "too_many_connections"
            assert await second.settle() == []


@needs_nginx
async def test_health_while_redis_hangs(daphne, start_front):
    """Through the proxy, too, it is 503 within a second."""
    with Redis() as redis:
        settings = {**django_settings(), **redis.settings}
        front = await sync_to_async(lambda: start_front(daphne(**settings)))()

        def look():
            started = time.monotonic()
            status, _ = get(f"{front.https}/health", front.context)
            return status, time.monotonic() - started

        assert (await asyncio.to_thread(look))[0] == 200
        redis.pause()
        tries = [await asyncio.to_thread(look) for _ in range(3)]
        redis.resume()
        assert {status for status, _ in tries} == {503}
        assert min(took for _, took in tries) < 1  # the machine may be busy with something else


@needs_nginx
async def test_who_is_refused_by_one_process_gets_the_next(daphne, start_front, alice):
    """At once, however often: `max_fails=0`. Long waits are what nginx does by itself."""
    server = await sync_to_async(daphne)(**django_settings())
    gone = await sync_to_async(daphne)(**django_settings())
    port = gone.port
    await asyncio.to_thread(gone.stop)
    upstream = FILES["nginx.conf"].partition("upstream ")[2].partition("}")[0]
    addresses = iter([f"127.0.0.1:{port}", f"127.0.0.1:{server.port}"] * 2)
    upstream = re.sub(r"127\.0\.0\.1:\d+", lambda _: next(addresses), upstream)
    front = Front(upstream=f"upstream {upstream}}}\n")
    try:
        for _ in range(20):
            async with Client(front.ws, await sync_to_async(alice.ws_token)()) as client:
                await client.subscribed()
        assert front.log.count("Connection refused") > 1
        assert "no live upstreams" not in front.log
    finally:
        front.stop()


@needs_nginx
async def test_a_reload_keeps_sockets(site, alice):
    """Old workers stay for as long as their sockets live; new ones take who comes."""
    async with Client(site.ws, alice.ws_token()) as old:
        await old.subscribed()
        site.process.send_signal(signal.SIGHUP)
        await until(lambda: site.log.count("gracefully shutting down") >= 2)
        async with Client(site.ws, alice.ws_token()) as new:
            await new.subscribed()
            assert await alice.ws_apublish("to both") == 2
            assert [await old.data(), await new.data()] == ["to both"] * 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("drop_in", [None, "unix.conf"])
def test_systemd_takes_the_unit(tmp_path, drop_in):
    """With a program and a folder that are here; and it is well locked in."""
    text = FILES["mysite-ws@.service"]
    if drop_in is not None:
        text = text.replace("[Install]", FILES[drop_in].replace("[Service]\n", "") + "\n[Install]")
    text = text.replace("/srv/mysite/venv/bin/daphne", "/bin/true").replace("/srv/mysite", "/tmp")
    unit = tmp_path / "mysite-ws@1.service"
    unit.write_text(text.replace("User=mysite", "User=root"))
    command = ["systemd-analyze", "verify", "--man=no", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert unit.name not in done.stderr, done.stderr
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if level:  # systemd 250 and newer
        assert float(level[1]) < 4, done.stdout


@pytest.fixture
def by_socket(tmp_path, transactional_db):
    """The page's four processes, on unix sockets."""
    with Systemd(tmp_path, django_settings(), by_socket=True) as systemd:
        wait_until(systemd.is_well, START_SECONDS)
        yield systemd


async def test_a_socket_left_by_a_killed_process_is_no_obstacle(by_socket):
    """daphne removes it."""
    by_socket.instances[1].kill()
    assert (by_socket.folder / "run/1/daphne.sock").exists()
    await asyncio.to_thread(by_socket.restart, 1)
    await until(by_socket.is_well, START_SECONDS)


async def test_the_script_stops_at_an_instance_that_is_not_well(by_socket, monkeypatch):
    """The others go on as they are."""
    script = FILES["rolling-restart"].replace("-ge 240", "-ge 8")
    monkeypatch.setitem(FILES, "rolling-restart", script)
    before = {number: each.pid for number, each in by_socket.instances.items()}
    by_socket.settings = {**by_socket.settings, "ROOT_URLCONF": "there.is.none"}
    with pytest.raises(AssertionError):
        await rolling_restart(by_socket, [2, 3])
    after = {number: each.pid for number, each in by_socket.instances.items()}
    assert {number for number in after if after[number] != before[number]} == {2}
