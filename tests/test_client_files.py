"""client.js as static files: every way of docs/client.md to import it, in a real browser."""

import contextlib
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core.management import call_command
from django.template import engines
from django.test import modify_settings, override_settings

from bazis_ws_channels import protocol
from tests.kit import ROOT
from tests.kit.browser import chromium

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
AGGREGATING = f"{__name__}.AggregatingStorage"

PAGE = """<!doctype html>
{% load static %}
<script type="importmap">
  { "imports": { "bazis-ws-channels": "{% static 'bazis_ws_channels/client.js' %}" } }
</script>
<script type="module">
  import { BazisWsClient } from "{% static 'bazis_ws_channels/client.js' %}";
  window.direct = new BazisWsClient().state;
</script>
<script type="module" src="{% static 'my/named.js' %}"></script>
<script type="module" src="{% static 'my/relative.js' %}"></script>
"""
NAMED = """
import { BazisWsClient, CLOSE_CODES } from "bazis-ws-channels";
window.named = [new BazisWsClient().state, CLOSE_CODES.AUTH];
"""
RELATIVE = """
import { BazisWsClient } from "../bazis_ws_channels/client.js";
window.relative = new BazisWsClient({ url: "/ws", position: { user: "a.1" } }).position;
"""


class AggregatingStorage(ManifestStaticFilesStorage):
    """Rewrites the imports of modules too."""

    support_js_module_import_aggregation = True


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(params=[PLAIN, MANIFEST, AGGREGATING])
def site(request, tmp_path):
    """A folder with a page, and its collected static files in `static/`."""
    own = tmp_path / "own" / "my"
    own.mkdir(parents=True)
    (own / "named.js").write_text(NAMED)
    (own / "relative.js").write_text(RELATIVE)
    settings = {
        "STATIC_URL": "/static/",
        "STATIC_ROOT": tmp_path / "site" / "static",
        "STATICFILES_DIRS": [own.parent],
        "STORAGES": {"staticfiles": {"BACKEND": request.param}},
    }
    apps = {"append": "django.contrib.staticfiles"}
    with modify_settings(INSTALLED_APPS=apps), override_settings(**settings):
        finders.get_finder.cache_clear()
        try:
            call_command("collectstatic", interactive=False, verbosity=0)
            page = engines["django"].from_string(PAGE).render()
            (tmp_path / "site" / "index.html").write_text(page)
            yield tmp_path / "site", staticfiles_storage.url("bazis_ws_channels/client.js")
        finally:
            finders.get_finder.cache_clear()


@contextlib.contextmanager
def served(folder):
    handler = functools.partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def test_knows_the_close_codes_of_the_server():
    """`CLOSE_CODES` has each close code, under the server's name."""
    client = (ROOT / "bazis_ws_channels/static/bazis_ws_channels/client.js").read_text()
    closes = {name: code for name, code in vars(protocol).items() if name.startswith("CLOSE_")}
    assert closes
    for name, code in closes.items():
        assert f"  {name.removeprefix('CLOSE_')}: {code},\n" in client


def test_is_collected_unchanged(site):
    """Hashed or not, the storage finds nothing in it to rewrite."""
    folder, url = site
    collected = (folder / url.lstrip("/")).read_bytes()
    assert collected == (folder / "static/bazis_ws_channels/client.js").read_bytes()
    assert b"class BazisWsClient" in collected


def test_can_be_imported(site, browser):
    """By its address, by its name in an import map, and by a module beside it."""
    folder, _ = site
    problems = []
    page = browser.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    with served(folder) as address:
        page.goto(address, wait_until="load")
        found = page.evaluate("[window.direct, window.named, window.relative]")
    page.close()
    assert problems == []
    assert found == ["idle", ["idle", 4401], {"user": "a.1"}]
