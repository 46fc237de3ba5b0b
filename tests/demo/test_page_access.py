"""The page for those who see little, hear it read out, use no mouse, or a phone."""

from pathlib import Path

import pytest

CONTRAST = Path(__file__).with_name("contrast.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(demo, person, expect, scheme):
    """Text 4.5:1; fields, buttons and the ring around the focus 3:1; in every state."""
    somebody = person(demo, color_scheme=scheme)
    assert somebody.page.evaluate(CONTRAST) == []
    somebody.page.fill("#username", "alice")
    somebody.page.fill("#password", "wrong")
    somebody.page.keyboard.press("Enter")
    expect(somebody("#sign-in-message")).to_be_visible()
    assert somebody.page.evaluate(CONTRAST) == []
    somebody.sign_in("admin")
    bob = person(demo, "bob")
    expect(somebody("[data-person=bob] .status")).to_have_text("online")
    bob.choose("admin")
    bob.write("hello")
    expect(somebody("[data-person=bob] .badge")).to_be_visible()
    assert somebody.page.evaluate(CONTRAST) == []
    somebody.choose("bob")
    somebody.write("hello, too")
    expect(somebody(".line.mine .note").last).to_have_text("sent")
    somebody.page.check("#task-form [name=fail]")
    somebody.page.click("#task-form button")
    expect(somebody(".task[data-state=failed]")).to_be_visible()
    somebody.page.fill("#news-text", "Lunch")
    somebody.page.keyboard.press("Enter")
    expect(somebody("#news .text").first).to_have_text("Lunch")
    somebody.page.click("#wire-open")
    somebody.page.route("**/chat/send/", lambda route: route.abort())
    somebody.write("not this one")
    expect(somebody(".line[data-note=failed]")).to_be_visible()
    assert somebody.page.evaluate(CONTRAST) == []
    somebody.context.set_offline(True)
    somebody.page.evaluate("() => dispatchEvent(new Event('offline'))")
    assert somebody.page.evaluate(CONTRAST) == []


def test_keyboard_alone_suffices(demo, person, expect):
    """Sign in, choose somebody, write, look at the wire, sign out: without a click."""
    bob = person(demo, "bob")
    somebody = person(demo)
    keyboard = somebody.page.keyboard
    expect(somebody("#username")).to_be_focused()
    keyboard.type("alice")
    keyboard.press("Tab")
    keyboard.type("demo")
    keyboard.press("Enter")
    expect(somebody("#people button").first).to_be_focused()
    while somebody.page.evaluate("document.activeElement.dataset.person") != "bob":
        keyboard.press("Tab")
    keyboard.press("Enter")
    expect(somebody("#chat-text")).to_be_focused()
    keyboard.type("by keyboard")
    keyboard.press("Enter")
    expect(bob("[data-person=alice] .badge")).to_be_visible()
    expect(somebody("#chat-text")).to_be_focused()
    press_until_focused(somebody, "Shift+Tab", "wire-open")
    keyboard.press("Enter")
    expect(somebody("#wire")).to_be_visible()
    expect(somebody("#wire-close")).to_be_focused()
    expect(somebody("#wire-open")).to_have_attribute("aria-expanded", "true")
    keyboard.press("Escape")
    expect(somebody("#wire")).to_be_hidden()
    expect(somebody("#wire-open")).to_be_focused()
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(somebody("#username")).to_be_focused()


def press_until_focused(somebody, key, element_id):
    for _ in range(30):
        if somebody.page.evaluate("document.activeElement.id") == element_id:
            return
        somebody.page.keyboard.press(key)
    raise AssertionError(f"{key} never comes to {element_id}")


def test_a_refused_sign_in_leads_to_the_password(demo, person, expect):
    """The message is an alert, and says what the fields' trouble is."""
    somebody = person(demo)
    somebody.page.fill("#username", "alice")
    somebody.page.fill("#password", "wrong")
    somebody.page.keyboard.press("Enter")
    expect(somebody.page.get_by_role("alert")).to_have_text("Wrong name or password.")
    expect(somebody("#password")).to_be_focused()
    expect(somebody("#username")).to_have_value("alice")
    expect(somebody("#password")).to_have_accessible_description("Wrong name or password.")


def test_too_many_attempts_are_told(demo, person, expect):
    """With the time to wait."""
    somebody = person(demo)
    answers = {"status": 429, "headers": {"Retry-After": "42"}, "json": {"detail": "Throttled."}}
    somebody.page.route("**/token/", lambda route: route.fulfill(**answers))
    somebody.sign_in("alice")
    message = "Too many attempts. Try again in 42 s."
    expect(somebody.page.get_by_role("alert")).to_have_text(message)


def test_news_is_read_out(demo, person, expect):
    """Messages, announcements and states are live regions; old messages are not read again."""
    alice, bob = person(demo, "alice"), person(demo, "bob")
    for selector in ("#chat-log", "#news"):
        expect(alice(selector)).to_have_attribute("role", "log")
    for selector in ("#connection-live", "#toasts"):
        expect(alice(selector)).to_have_attribute("role", "status")
    alice.page.evaluate(
        """() => { window.read = []; new MutationObserver((changes) => {
            for (const { addedNodes, target } of changes)
                if (target.ariaLive === "polite")
                    window.read.push(...[...addedNodes].map((node) => node.textContent));
        }).observe(document.getElementById("chat-log"), { childList: true }); }"""
    )
    alice.choose("bob")
    expect(alice("#chat-log")).to_have_attribute("aria-live", "polite")
    bob.choose("alice")
    bob.write("read me")
    expect(alice(".line", has_text="read me").last).to_be_visible()
    [read] = alice.page.evaluate("window.read")
    assert read.startswith("read me")


def test_no_motion_for_those_who_want_none(demo, person, expect):
    """Neither the dot nor the toasts move."""
    somebody = person(demo, "alice", reduced_motion="reduce")
    moving = "[...document.querySelectorAll('*')].filter((e) => e.getAnimations().length).length"
    somebody.page.evaluate("document.getElementById('connection').dataset.state = 'connecting'")
    assert somebody.page.evaluate(moving) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_what_happens_below(demo, person, expect, scheme):
    """Announcements and progress, while the chat fills the screen; the end of a task stays."""
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    alice, admin = person(demo, "alice", color_scheme=scheme, **phone), person(demo, "admin")
    expect(alice("#news")).not_to_be_in_viewport()
    admin.page.fill("#news-text", "Lunch is ready")
    admin.page.keyboard.press("Enter")
    expect(alice(".toast", has_text="Announcement: Lunch is ready")).to_be_in_viewport()
    expect(admin("#news .text").first).to_have_text("Lunch is ready")
    expect(admin(".toast")).to_have_count(0)  # it is on the screen already
    alice.page.locator("#task-form button").evaluate("button => button.click()")
    expect(alice(".toast", has_text="%").locator("progress")).to_be_in_viewport()
    expect(alice(".toast", has_text="Task").last).to_contain_text("done")
    assert alice.page.evaluate(CONTRAST) == []


def test_the_wire_shows_each_frame_and_its_line(demo, person, expect):
    """From the server and from the page; never a token."""
    alice, bob = person(demo, "alice"), person(demo, "bob")
    alice.page.click("#wire-open")
    bob.choose("alice")
    bob.write("over the wire")
    frame = alice("#wire-log li", has_text="over the wire")
    expect(frame).to_contain_text('"type":"chat_message"')
    expect(frame).to_contain_text("demo/chat/delivery.py:")
    expect(frame).to_contain_text("user.ws_publish(message.as_received())")
    for kind, source in (
        ("subscribed", "demo/chat/routing.py"),
        ("presence", "demo/users/models.py"),
        ("watch", "demo/static/demo/people.js"),
    ):
        expect(alice(f"#wire-log [data-kind={kind}]").first).to_contain_text(source)
    token = alice.page.evaluate("sessionStorage.getItem('demo.token')")
    assert token not in alice.page.content()
