"""The page in a real browser: headless Chromium, driven by Playwright."""

import contextlib
import os
import re
import shutil

import pytest

from tests.kit import Proxy

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
#: No claim about speed: the end of a test that would wait for ever.
PATIENCE_MS = 20_000


def missing(what):
    """Skip; in CI, where everything must be there, fail."""
    reason = f"no browser tests: {what} is missing"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    """A browser for this module: Playwright's sync API occupies the thread's event loop."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing("playwright")
    if CHROMIUM is None:
        missing("chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def expect(browser):
    from playwright.sync_api import expect

    return expect


class Person:
    """Somebody with a tab of their own."""

    def __init__(self, browser, server, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.console, self.sockets = [], []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("websocket", lambda socket: self.sockets.append(socket.url))
        self.page.goto(server.http)

    def __call__(self, selector):
        return self.page.locator(selector)

    def sign_in(self, name):
        self.page.fill("#username", name)
        self.page.fill("#password", "demo")
        self.page.click("#sign-in button[type=submit]")
        return self

    def choose(self, name):
        self.page.click(f"[data-person={name}]")

    def write(self, text):
        self.page.fill("#chat-text", text)
        self.page.keyboard.press("Enter")


@pytest.fixture
def person(browser, expect):
    """Make people; their consoles must stay clean, which includes the Content-Security-Policy."""
    people = []

    def make(server, name=None, **options):
        somebody = Person(browser, server, **options)
        people.append(somebody)
        if name is not None:
            somebody.sign_in(name)
            expect(somebody("#connection-text")).to_have_text("Live")
        return somebody

    yield make
    for somebody in people:
        noise = [
            line for line in somebody.console if not re.search(r"Failed to load|WebSocket", line)
        ]
        somebody.context.close()
        assert noise == []


def test_two_people_see_each_other_come_and_go(demo, person, expect):
    """Live, by presence messages."""
    alice = person(demo, "alice")
    expect(alice("[data-person=bob] .status")).not_to_have_text("online")
    bob = person(demo, "bob")
    expect(alice("[data-person=bob] .status")).to_have_text("online")
    expect(bob("[data-person=alice] .status")).to_have_text("online")
    expect(alice("#people-count")).to_have_text("1 of 3 online")
    bob.page.click("#sign-out")
    expect(alice("[data-person=bob] .status")).to_have_text("seen just now")


def test_chat_is_text_whatever_is_typed(demo, person, expect):
    """Markup stays letters, on both sides."""
    alice, bob = person(demo, "alice"), person(demo, "bob")
    text = "<img src=x onerror=alert(1)> <b>bold?</b> & ёлка"
    alice.choose("bob")
    alice.write(text)
    expect(alice(".line.mine .text")).to_have_text(text)
    expect(alice(".line.mine .note")).to_have_text("sent")
    expect(bob("[data-person=alice] .badge")).to_have_text("1")
    assert bob.page.title().startswith("(1)")
    bob.choose("alice")
    expect(bob(".line.theirs .text")).to_have_text(text)
    expect(bob("[data-person=alice] .badge")).to_be_hidden()
    assert bob("#chat-log img, #chat-log b").count() == 0
    bob.write("hello alice")
    expect(alice(".line.theirs .text")).to_have_text("hello alice")


def test_chat_waits_for_who_is_away(demo, person, expect):
    """It comes at the next sign-in, and stays after a reload."""
    alice = person(demo, "alice")
    expect(alice("[data-person=carol] .status")).not_to_have_text("online")
    alice.choose("carol")
    alice.write("for later")
    expect(alice(".line.mine .note")).to_have_text("will arrive at the next sign-in")
    carol = person(demo, "carol")
    expect(carol("[data-person=alice] .badge")).to_have_text("1")
    carol.page.reload()
    expect(carol("#connection-text")).to_have_text("Live")
    carol.choose("alice")
    expect(carol(".line.theirs .text")).to_have_text("for later")


def test_a_task_fills_its_bar(demo, person, expect):
    """From the worker to the page; and one that fails says so."""
    alice = person(demo, "alice")
    alice.page.click("#task-form button")
    expect(alice(".task[data-state=completed]")).to_have_count(1)
    assert alice(".task progress").evaluate("bar => bar.value") == 100
    alice.page.check("#task-form [name=fail]")
    alice.page.click("#task-form button")
    expect(alice(".task[data-state=failed] .status")).to_contain_text("asked to fail")


def test_staff_announce_to_everybody(demo, person, expect):
    """The others have no form for it."""
    alice, admin = person(demo, "alice"), person(demo, "admin")
    expect(alice("#news-form")).to_be_hidden()
    admin.page.fill("#news-text", "<i>Lunch</i> is ready")
    admin.page.keyboard.press("Enter")
    for somebody in (alice, admin):
        expect(somebody("#news .text").first).to_have_text("<i>Lunch</i> is ready")
    expect(admin("#news-text")).to_have_value("")


def test_sign_in_says_what_is_wrong(demo, person, expect):
    """And lets one try again."""
    somebody = person(demo)
    somebody.page.fill("#username", "alice")
    somebody.page.fill("#password", "wrong")
    somebody.page.click("#sign-in button[type=submit]")
    expect(somebody("#sign-in-message")).to_have_text("Wrong name or password.")
    expect(somebody("#desk")).to_be_hidden()
    somebody.sign_in("alice")
    expect(somebody("#connection-text")).to_have_text("Live")
    somebody.page.click("#sign-out")
    expect(somebody("#sign-in")).to_be_visible()
    somebody.page.reload()
    expect(somebody("#sign-in")).to_be_visible()


def test_two_tabs_are_two_people(demo, person, expect):
    """The token belongs to the tab; and it is in no URL, which names a position and no more."""
    alice = person(demo, "alice")
    second = alice.context.new_page()
    second.goto(demo.http)
    expect(second.locator("#sign-in")).to_be_visible()
    second.click(".chip >> text=bob")
    expect(second.locator("#connection-text")).to_have_text("Live")
    expect(second.locator("#me")).to_have_text("bob")
    expect(alice("#me")).to_have_text("alice")
    [url] = alice.sockets
    assert re.fullmatch(rf"ws://127\.0\.0\.1:{demo.port}/ws\?since=[\w.-]+~[\w.-]+", url)


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_every_screen(demo, person, expect, width, scheme):
    """No sideways scrolling, signed out or in."""
    options = {"viewport": {"width": width, "height": 700}, "color_scheme": scheme}
    somebody = person(demo, **options)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert somebody.page.evaluate(overflow) <= 0
    somebody.sign_in("alice")
    expect(somebody("#connection-text")).to_have_text("Live")
    somebody.choose("bob")
    somebody.write("long" * 100)
    expect(somebody(".line.mine")).to_have_count(1)
    assert somebody.page.evaluate(overflow) <= 0


@pytest.fixture
def stable():
    """Give a server an address that stays when another takes its place."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(Proxy(server.port))


class TestServersThatGoAway:
    def test_the_connection_comes_back(self, deployment, stable, person, expect):
        """The server restarts: the page says so, reconnects, and everything goes on."""
        server = deployment.daphne()
        address = stable(server)
        alice, bob = person(address, "alice"), person(address, "bob")
        server.stop()
        expect(alice("#connection-text")).to_contain_text("Connection lost, retrying in")
        expect(alice("#connection-live")).to_have_text("Connection lost")
        expect(alice("#retry")).to_be_visible()
        address.target = deployment.daphne().port
        for somebody in (alice, bob):
            expect(somebody("#connection-text")).to_have_text("Live")
        expect(alice("[data-person=bob] .status")).to_have_text("online")
        alice.choose("bob")
        alice.write("still here")
        expect(bob("[data-person=alice] .badge")).to_have_text("1")

    def test_a_slow_list_of_people_does_not_undo_their_status(
        self, deployment, stable, person, expect
    ):
        """The socket tells the newer status; the list was read before it."""
        server = deployment.daphne()
        address = stable(server)
        alice = person(address, "alice")
        expect(alice("[data-person=bob]")).to_be_visible()
        held = []
        alice.page.route("**/users/user/", lambda route: held.append((route, route.fetch())))
        server.stop()
        expect(alice("#connection-text")).to_contain_text("Connection lost, retrying in")
        address.target = deployment.daphne().port
        expect(alice("#connection-text")).to_have_text("Live")
        while not held:
            alice.page.wait_for_timeout(50)
        person(address, "bob")
        expect(alice("[data-person=bob] .status")).to_have_text("online")
        route, response = held[0]
        with alice.page.expect_event("requestfinished", lambda each: "users/user/" in each.url):
            route.fulfill(response=response)
        alice.page.evaluate("() => new Promise((shown) => requestAnimationFrame(shown))")
        expect(alice("[data-person=bob] .status")).to_have_text("online")

    def test_the_token_is_renewed_in_time(self, deployment, person, expect):
        """The session outlives its token, without a gap."""
        server = deployment.daphne(DEMO_TOKEN_SECONDS="4")
        alice = person(server)
        answers = []
        alice.page.on("response", lambda response: answers.append(response.url))
        alice.sign_in("alice")
        expect(alice("#connection-text")).to_have_text("Live")
        alice.page.evaluate(
            """() => { window.words = []; new MutationObserver(() =>
                window.words.push(document.getElementById("connection").dataset.state)
            ).observe(document.getElementById("connection"), {attributes: true}); }"""
        )
        for _ in range(3):
            with alice.page.expect_response(lambda response: "token/renew/" in response.url):
                pass
        expect(alice("#connection-text")).to_have_text("Live")
        assert set(alice.page.evaluate("window.words")) <= {"live"}
        assert len(alice.sockets) == 1

    def test_a_session_ended_by_the_server_asks_for_a_sign_in(self, deployment, person, expect):
        """And does not try again and again."""
        server = deployment.daphne()
        alice = person(server, "alice")
        deployment.manage("ws_disconnect", "alice")
        expect(alice("#sign-in-message")).to_contain_text("session has ended")
        expect(alice("#connection")).to_be_hidden()
        assert len(alice.sockets) == 1
        alice.sign_in("alice")
        expect(alice("#connection-text")).to_have_text("Live")

    def test_a_network_that_comes_back(self, deployment, stable, person, expect):
        """The browser's events: nothing gets through while it is away, and then at once."""
        server = deployment.daphne()
        address = stable(server)
        alice = person(address, "alice")
        alice.context.set_offline(True)
        server.stop()
        expect(alice("#connection-text")).to_contain_text("Connection lost, retrying in 20 s")
        address.target = deployment.daphne().port
        expect(alice("#connection-text")).to_contain_text("Connection lost")
        alice.context.set_offline(False)
        expect(alice("#connection-text")).to_have_text("Live", timeout=10_000)
