"""The page in a real browser: headless Chromium, driven by Playwright."""

import re

import pytest


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
    expect(alice(".line.mine .text").last).to_have_text(text)
    expect(alice(".line.mine .note").last).to_have_text("sent")
    expect(bob("[data-person=alice] .badge")).to_have_text("1")
    assert bob.page.title().startswith("(1)")
    bob.choose("alice")
    expect(bob(".line.theirs .text").last).to_have_text(text)
    expect(bob("[data-person=alice] .badge")).to_be_hidden()
    assert bob("#chat-log img, #chat-log b").count() == 0
    bob.write("hello alice")
    expect(alice(".line.theirs .text").last).to_have_text("hello alice")


def test_chat_waits_for_who_is_away(demo, person, expect):
    """It comes at the next sign-in, and stays after a reload."""
    alice = person(demo, "alice")
    expect(alice("[data-person=carol] .status")).not_to_have_text("online")
    alice.choose("carol")
    alice.write("for later")
    expect(alice(".line.mine .note").last).to_have_text("will arrive at the next sign-in")
    carol = person(demo, "carol")
    expect(carol("[data-person=alice] .badge")).to_have_text("1")
    carol.page.reload()
    expect(carol("#connection-text")).to_have_text("Live")
    carol.choose("alice")
    expect(carol(".line.theirs .text").last).to_have_text("for later")


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
    expect(somebody(".line.mine .text").last).to_have_text("long" * 100)
    assert somebody.page.evaluate(overflow) <= 0
