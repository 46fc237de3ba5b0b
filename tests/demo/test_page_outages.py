"""The page while servers go away and come back."""


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
