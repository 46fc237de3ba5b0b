"""A visitor's page in a real browser: client.js, its token, a restart of the server."""

import threading

from bazis_ws_channels import publishing
from tests.kit import ROOT, Daphne, Proxy
from tests.kit.browser import chromium

SETTINGS = {"BAZIS_WS_ANONYMOUS": True, "BAZIS_WS_ANONYMOUS_COMMON": True}
CLIENT = ROOT / "bazis_ws_channels/static/bazis_ws_channels/client.js"
PAGE = """<!doctype html><title>visitor</title><script type="module">
  import { BazisWsClient, anonymousToken } from "/client.js";
  const client = new BazisWsClient({ getToken: anonymousToken, minDelayMs: 50, stableMs: 0 });
  window.seen = { data: [], missed: 0, subscribed: [] };
  client.on("data", ({ detail, replayed }) => seen.data.push(replayed ? [detail] : detail));
  client.on("missed", () => seen.missed++);
  client.on("subscribed", ({ detail }) => seen.subscribed.push(detail.user));
  client.on("state", ({ detail }) => (document.title = detail.state));
  window.token = anonymousToken();
  client.connect();
</script>"""


class Visitor:
    """A tab with the page."""

    def __init__(self, context, site):
        self.page = context.new_page()
        script = CLIENT.read_text()
        self.page.route(
            "**/visitor", lambda each: each.fulfill(body=PAGE, content_type="text/html")
        )
        self.page.route(
            "**/client.js", lambda each: each.fulfill(body=script, content_type="text/javascript")
        )
        self.page.goto(f"{site.http}/visitor")
        self.is_live()

    def is_live(self):
        """Wait until it has a session."""
        self.page.wait_for_function("document.title === 'live'", timeout=20_000)

    def has(self, *data):
        """Wait until so much came; it must be this."""
        self.page.wait_for_function(f"seen.data.length >= {len(data)}", timeout=20_000)
        assert self.page.evaluate("seen.data") == list(data)

    @property
    def token(self):
        """Its token."""
        return self.page.evaluate("token")


def publish(function, *arguments):
    """Publish from a thread: Playwright occupies this one's event loop."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def test_a_visitor(django_db_setup):
    """Each tab has a token of its own, which a reload and a restarted server find again."""
    first, second = Daphne(SETTINGS), Daphne(SETTINGS)
    first.wait_until_ready()
    second.wait_until_ready()
    with first, second, Proxy(first.port) as site, chromium() as browser:
        # A page that a test makes up counts as one from the internet.
        context = browser.new_context(permissions=["local-network-access"])
        visitor, other = Visitor(context, site), Visitor(context, site)
        assert visitor.token != other.token
        publish(publishing.publish_anonymous, visitor.token, "for you")
        publish(publishing.broadcast, "for all")
        visitor.has("for you", "for all")
        other.has("for all")

        token = visitor.token
        visitor.page.reload()
        visitor.is_live()
        assert visitor.token == token
        publish(publishing.publish_anonymous, token, "again")
        visitor.has("again")

        site.target = second.port
        first.stop()
        publish(publishing.broadcast, "meanwhile")
        visitor.page.wait_for_function("seen.subscribed.length === 2", timeout=30_000)
        publish(publishing.publish_anonymous, token, "live")
        visitor.page.wait_for_function("seen.data.includes('live')", timeout=20_000)
        data = visitor.page.evaluate("seen.data")
        # Replayed, unless the client was back before it was published.
        assert data in (["again", ["meanwhile"], "live"], ["again", "meanwhile", "live"])
        assert visitor.page.evaluate("[seen.missed, seen.subscribed]") == [0, [None, None]]
