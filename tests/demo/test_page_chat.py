"""The conversation: other tabs, what was said before, and what did not get through."""

import pytest

from tests.demo.people import id_of, token_of


@pytest.fixture
def chatting(demo, person, expect):
    """Give two people, each with the other's conversation open."""
    alice, bob = person(demo, "alice"), person(demo, "bob")
    alice.choose("bob")
    bob.choose("alice")
    return alice, bob


def lines(somebody, text):
    """Find the bubbles that say this."""
    return somebody(".line", has_text=text)


def test_the_senders_other_tabs_show_it(demo, person, expect, chatting):
    """With its note; the tab that sent it shows it once."""
    alice, _ = chatting
    other = person(demo, "alice")
    other.choose("bob")
    alice.write("to all my tabs")
    for tab in (alice, other):
        expect(lines(tab, "to all my tabs")).to_have_count(1)
        expect(lines(tab, "to all my tabs").locator(".note")).to_have_text("sent")
    expect(other("[data-person=bob] .badge")).to_be_hidden()


def test_what_was_said_is_there_at_the_next_sign_in(demo, person, expect, chatting):
    """On both sides, in order; and it is no news."""
    alice, bob = chatting
    alice.write("first words")
    expect(lines(bob, "first words")).to_have_count(1)
    bob.write("second words")
    expect(lines(alice, "second words")).to_have_count(1)
    for name, partner in (("alice", "bob"), ("bob", "alice")):
        again = person(demo, name)
        expect(again(f"[data-person={partner}] .badge")).to_be_hidden()
        again.choose(partner)
        expect(again(".line .text").nth(-2)).to_have_text("first words")
        expect(again(".line .text").nth(-1)).to_have_text("second words")


def test_nothing_falls_between_history_and_socket(demo, person, expect, chatting):
    """A message that comes while the history is on its way is shown, once."""
    alice, _ = chatting
    held = []
    late = person(demo)
    late.page.route("**/chat/history/", lambda route: held.append((route, route.fetch())))
    late.sign_in("bob")
    while not held:
        late.page.wait_for_timeout(50)
    alice.write("in between")
    expect(lines(alice, "in between").locator(".note")).to_have_text("sent")
    route, response = held[0]
    route.fulfill(response=response)
    expect(late("#connection-text")).to_have_text("Live")
    expect(late("[data-person=alice] .badge")).to_have_text("1")
    late.choose("alice")
    expect(lines(late, "in between")).to_have_count(1)


def test_what_failed_is_sent_again(expect, chatting):
    """By one click, after which one writes on."""
    alice, bob = chatting
    alice.page.route("**/chat/send/", lambda route: route.abort())
    alice.write("on the second try")
    failed = lines(alice, "on the second try")
    expect(failed.locator(".note")).to_have_text("not sent: The server can't be reached.")
    alice.page.unroute("**/chat/send/")
    failed.get_by_role("button", name="Try again").click()
    expect(failed.locator(".note")).to_have_text("sent")
    expect(failed.get_by_role("button")).to_have_count(0)
    expect(alice("#chat-text")).to_be_focused()
    expect(lines(bob, "on the second try")).to_have_count(1)


def test_an_answer_that_got_lost_sends_nothing_twice(demo, person, expect, chatting):
    """The server has the message: the socket says so; without it, a second try does."""
    alice, bob = chatting
    deaf = person(demo)
    deaf.page.route_web_socket("**/ws**", lambda socket: None)
    deaf.sign_in("alice")
    deaf.choose("bob")
    for sender, text in ((alice, "once by the socket"), (deaf, "once by trying again")):
        sender.page.route("**/chat/send/", lambda route: (route.fetch(), route.abort()))
        sender.write(text)
        if sender is deaf:
            expect(lines(sender, text).locator(".note")).to_contain_text("not sent")
            sender.page.unroute("**/chat/send/")
            lines(sender, text).get_by_role("button", name="Try again").click()
        expect(lines(sender, text).locator(".note")).to_have_text("sent")
        for somebody in (alice, bob):
            expect(lines(somebody, text)).to_have_count(1)


def test_messages_from_before_there_were_keys(deployment, person, expect):
    """They are as many as they were."""
    server = deployment.daphne()
    alice = token_of(server, "alice")
    sender, recipient = (id_of(server, name, alice) for name in ("alice", "bob"))
    deployment.execute(
        "INSERT INTO chat_chatmessage (sender_id, recipient_id, text, sent_at) VALUES (?, ?, ?, ?)",
        *((sender, recipient, text, "2026-01-15 12:00:00") for text in ("old one", "old two")),
    )
    page = person(server, "alice")
    page.choose("bob")
    expect(page(".line.mine .text")).to_have_text(["old one", "old two"])
    expect(page(".line.mine time").first).to_contain_text("Jan")
