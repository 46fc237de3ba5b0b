"""The page while servers go away and come back: it says so, heals, and loses nothing."""

import secrets

import pytest

from tests.demo.browser import PATIENCE_MS
from tests.demo.processes import DemoWorker
from tests.kit import wait_until


def texts(somebody):
    """Return what the open conversation says."""
    return somebody(".line .text").all_text_contents()


def test_presence_is_unknown_while_redis_hangs(deployment, person, expect):
    """The socket is open, but nobody is called offline; and it is known again afterwards."""
    server = deployment.daphne()
    alice, bob = person(server, "alice"), person(server, "bob")
    expect(alice("[data-person=bob] .status")).to_have_text("online")
    alice.choose("bob")
    bob.choose("alice")
    bob.write("before it hangs")
    expect(alice(".line.theirs .text").last).to_have_text("before it hangs")
    deployment.redis.pause()
    try:
        expect(alice("#connection-text")).to_have_text("Live, presence unknown")
        expect(alice("#connection-live")).to_have_text("Live, presence unknown")
        expect(alice("#people-count")).to_have_text("presence unknown")
        expect(alice("[data-person=bob] .status")).to_have_text("presence unknown")
        expect(alice("#chat-status")).to_have_text("presence unknown")
    finally:
        deployment.redis.resume()
    with alice.page.expect_event("requestfinished", lambda each: "chat/history/" in each.url):
        expect(alice("#connection-text")).to_have_text("Live")
    expect(alice("[data-person=bob] .status")).to_have_text("online")
    alice.page.evaluate("() => new Promise((shown) => requestAnimationFrame(shown))")
    expect(alice(".line.theirs", has_text="before it hangs")).to_have_count(1)
    assert set(alice(".line.theirs .note").all_text_contents()) == {""}


def test_a_sign_in_while_redis_hangs(deployment, person, expect):
    """It says what it can't know, shows what the database has, and is live when Redis is back."""
    server = deployment.daphne()
    bob = person(server, "bob")
    bob.choose("alice")
    bob.write("said before")
    expect(bob(".line.mine[data-note=sending]")).to_have_count(0)
    deployment.redis.pause()
    try:
        alice = person(server).sign_in("alice")
        expect(alice("#people-count")).to_have_text("presence unknown")
        expect(alice("[data-person=bob] .status")).to_have_text("presence unknown")
        alice.choose("bob")
        expect(alice(".line.theirs .text").last).to_have_text("said before")
        expect(alice("#connection-text")).to_contain_text("Connection lost, retrying in")
    finally:
        deployment.redis.resume()
    expect(alice("#connection-text")).to_have_text("Live", timeout=3 * PATIENCE_MS)
    expect(alice("[data-person=bob] .status")).to_have_text("online")


def test_a_killed_server_loses_nothing(deployment, stable, person, expect):
    """Three people write to each other while it is killed, gone, and back."""
    server = deployment.daphne()
    address = stable(server)
    people = {name: person(address, name) for name in ("alice", "bob", "carol")}
    partners = {"alice": "bob", "bob": "alice", "carol": "alice"}
    for name, somebody in people.items():
        somebody.choose(partners[name])
        somebody.write(f"{name} before")
        expect(somebody(".line.mine .note").last).to_have_text("sent")
    server.kill()
    for name, somebody in people.items():
        expect(somebody("#connection-text")).to_contain_text("Connection lost, retrying in")
        expect(somebody("#people-count")).to_have_text("presence unknown")
        somebody.write(f"{name} during")
        expect(somebody(".line.mine .note").last).to_contain_text("not sent")
    address.target = deployment.daphne().port
    for name, somebody in people.items():
        expect(somebody("#connection-text")).to_have_text("Live")
        somebody(".line.mine button").last.click()
        unsent = somebody(".line.mine:is([data-note=failed], [data-note=sending])")
        expect(unsent).to_have_count(0)
        somebody.write(f"{name} after")
        expect(unsent).to_have_count(0)
    for name in people:
        partner = people[partners[name]]
        partner.choose(name)
        expect(partner(".line.theirs .text").last).to_have_text(f"{name} after")
        said = [text for text in texts(partner) if text.startswith(name)]
        assert sorted(said[-3:]) == [f"{name} after", f"{name} before", f"{name} during"]
        assert len(said) == len(set(said))


@pytest.mark.parametrize("keep_data", [True, False])
def test_a_redis_that_restarts_loses_nothing(deployment, person, expect, keep_data):
    """With its memory or without: what was said meanwhile is there, once, and presence is right."""
    server = deployment.daphne()
    alice, bob = person(server, "alice"), person(server, "bob")
    alice.choose("bob")
    bob.choose("alice")
    deployment.redis.restart(keep_data=keep_data)
    tag = secrets.token_hex(4)  # the conversation outlives this test
    told = [f"{number} ({tag})" for number in range(3)]
    for text in told:
        alice.write(text)
    expect(alice(".line.mine[data-note=sending]")).to_have_count(0)
    expect(alice("[data-person=bob] .status")).to_have_text("online")
    alice.write(f"last ({tag})")
    expect(bob(".line.theirs .text").last).to_have_text(f"last ({tag})")
    # Sent at the same time, by requests of their own: in any order.
    heard = [text for text in texts(bob) if tag in text]
    assert sorted(heard) == [*told, f"last ({tag})"]


def test_a_missing_worker_is_waited_for(deployment, person, expect):
    """The task says so, and is done when one comes; even if Redis hangs when it ends."""
    alice = person(deployment.daphne(), "alice")
    alice.page.click("#task-form button")
    expect(alice(".task .status")).to_have_text("waiting for a worker")
    worker = DemoWorker({**deployment.env, "DEMO_TASK_SECONDS": "4"})
    try:
        expect(alice(".task .status")).to_contain_text("%", timeout=60_000)
        deployment.redis.pause()
        try:
            wait_until(lambda: "its end is told later" in worker.log)
        finally:
            deployment.redis.resume()
        expect(alice(".task .status")).to_have_text("done", timeout=60_000)
    finally:
        worker.stop()


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
